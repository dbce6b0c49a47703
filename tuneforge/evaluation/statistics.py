"""Intervals: Wilson for a proportion, Newcombe for a paired difference, the paired bootstrap for the rest.

All intervals are 95 %. Rows of one group are not independent: proportions then count as the smaller
number of independent rows that has the same variance, and the bootstrap draws whole groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Aggregate = Callable[[Mapping[str, Floats]], float]
Aggregates = Callable[[Mapping[str, Floats]], Floats]

Z = 1.959963984540054
SAMPLES = 2000
FEW = 10
"""Below this many independent groups the bootstrap is too narrow and a jackknife t interval is used."""

# 97.5 % quantiles of Student's t for 1 to 9 degrees of freedom.
T_975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)


class Interval(NamedTuple):
    """A value with its 95 % interval; NaN bounds where one independent row tells nothing."""

    value: float
    low: float
    high: float


def wilson(successes: float, n: float) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927). `n` may be an effective, fractional number."""
    if n <= 0:
        return Interval(math.nan, math.nan, math.nan)
    p = successes / n
    centre = (successes + Z * Z / 2) / (n + Z * Z)
    half = Z * math.sqrt(n * p * (1 - p) + Z * Z / 4) / (n + Z * Z)
    # At 0 and 1 the bound is exact; rounding must not push it past the value.
    return Interval(p, 0.0 if p == 0 else max(centre - half, 0.0), 1.0 if p == 1 else min(centre + half, 1.0))


def newcombe(both: float, first: float, second: float, neither: float) -> Interval:
    """p(first) - p(second) of paired 0/1 outcomes: method 10 of Newcombe, Statistics in Medicine 17 (1998).

    `both`, `first` (only), `second` (only) and `neither` are the cells of the 2 x 2 table.
    """
    n = both + first + second + neither
    p1, low1, high1 = wilson(both + first, n)
    p2, low2, high2 = wilson(both + second, n)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    cross = both * neither - first * second
    if cross > 0:
        cross = max(cross - n / 2, 0.0)
    phi = cross / math.sqrt(margins) if margins > 0 else 0.0
    down1, up1, down2, up2 = p1 - low1, high1 - p1, p2 - low2, high2 - p2
    below = math.sqrt(max(down1**2 - 2 * phi * down1 * up2 + up2**2, 0.0))
    above = math.sqrt(max(up1**2 - 2 * phi * up1 * down2 + down2**2, 0.0))
    difference = (first - second) / n if n else math.nan
    return Interval(difference, max(difference - below, -1.0), min(difference + above, 1.0))


def proportion(values: Floats, groups: Sequence[str]) -> Interval:
    """Wilson's interval of 0/1 (or half) values (n,) whose rows fall into groups."""
    if not len(values):
        return wilson(0, 0)
    n = _effective(values - values.mean(), groups)
    return wilson(float(values.mean()) * n, n)


def proportion_difference(first: Floats, second: Floats, groups: Sequence[str]) -> Interval:
    """Newcombe's interval of mean(first) - mean(second), paired by row. Halves (ties) are split over the cells."""
    if not len(first):
        return newcombe(0, 0, 0, 0)
    difference = first - second
    scale = _effective(difference - difference.mean(), groups) / len(first)
    cells = (first * second, first * (1 - second), (1 - first) * second, (1 - first) * (1 - second))
    low_high = newcombe(*(float(c.sum()) * scale for c in cells))
    return low_high._replace(value=float(difference.mean()))


def _effective(residuals: Floats, groups: Sequence[str]) -> float:
    """How many independent rows tell as much about the mean as these grouped ones (from 1 to n)."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    count, n = int(index.max()) + 1, len(residuals)
    alone = float((residuals**2).sum())
    if count == n:
        return float(n)
    if alone == 0.0 or count == 1:
        return float(count)
    together = float((np.bincount(index, residuals) ** 2).sum()) * count / (count - 1)
    # Few groups estimate their variance badly: Korn and Graubard 1998 take the quantile of t in place of z.
    found = n * alone / together * (Z / student(count - 1)) ** 2 if together else n
    return float(min(max(found, 1.0), n))


def bootstrap(
    stats: Mapping[str, Floats],
    aggregate: Aggregate,
    groups: Sequence[str],
    seed: int,
    versus: Mapping[str, Floats] | None = None,
    samples: int = SAMPLES,
) -> Interval:
    """Percentile interval of `aggregate(stats)`, or of its difference to `aggregate(versus)`, over groups."""
    return bootstraps(stats, lambda drawn: np.array([aggregate(drawn)]), groups, seed, versus, samples)[0]


def bootstraps(
    stats: Mapping[str, Floats],
    aggregates: Aggregates,
    groups: Sequence[str],
    seed: int,
    versus: Mapping[str, Floats] | None = None,
    samples: int = SAMPLES,
) -> list[Interval]:
    """An interval for each of several numbers (k,) that `aggregates` makes of the same sample.

    `stats` holds arrays (n,); both sides see the same drawn rows. The percentiles are widened for few
    groups (Hesterberg 2015, expanded percentile); below ten groups a jackknife t interval is given.
    """

    def difference(rows: NDArray[np.intp] | slice) -> Floats:
        here = aggregates({k: v[rows] for k, v in stats.items()})
        return here if versus is None else here - aggregates({k: v[rows] for k, v in versus.items()})

    values = difference(slice(None))
    if not len(groups):
        return [Interval(float(value), math.nan, math.nan) for value in values]
    grouped = _Groups.of(groups)
    count = len(grouped.sizes)
    if count < FEW:
        return _jackknife(difference, grouped, values)
    rng = np.random.default_rng(seed)
    draws = np.array([difference(grouped.draw(rng)) for _ in range(samples)])
    return [_percentiles(value, drawn, count) for value, drawn in zip(values, draws.T, strict=True)]


def _percentiles(value: float, draws: Floats, count: int) -> Interval:
    finite = draws[np.isfinite(draws)]
    if not math.isfinite(value) or not len(finite):
        return Interval(float(value), math.nan, math.nan)
    tail = _expanded_tail(count)
    low, high = np.quantile(finite, (tail, 1 - tail))
    return Interval(float(value), float(low), float(high))


@dataclass(frozen=True)
class _Groups:
    """Rows sorted by group: group g is `order[starts[g] : starts[g] + sizes[g]]`."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]

    @classmethod
    def of(cls, groups: Sequence[str]) -> _Groups:
        _, index = np.unique(np.asarray(groups), return_inverse=True)
        sizes = np.bincount(index).astype(np.intp)
        return cls(np.argsort(index, kind="stable"), np.cumsum(sizes) - sizes, sizes)

    def rows(self, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
        """The rows of the chosen groups, one group after the other."""
        sizes = self.sizes[chosen]
        ends = np.cumsum(sizes)
        within = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
        rows: NDArray[np.intp] = self.order[np.repeat(self.starts[chosen], sizes) + within]
        return rows

    def draw(self, rng: np.random.Generator) -> NDArray[np.intp]:
        """The rows of as many groups as there are, drawn with replacement."""
        return self.rows(rng.integers(0, len(self.sizes), len(self.sizes)))


def student(degrees: float) -> float:
    """The 97.5 % quantile of Student's t, for one degree of freedom or more."""
    if degrees <= len(T_975):
        return float(np.interp(degrees, range(1, len(T_975) + 1), T_975))
    # Cornish-Fisher expansion: within 0.0004.
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * degrees**2)
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / (384 * degrees**3)
    return Z + (Z**3 + Z) / (4 * degrees) + second + third


def _expanded_tail(n: int) -> float:
    """The tail probability that makes a percentile interval as wide as Student's t with n - 1 degrees."""
    return 0.5 * math.erfc(math.sqrt(n / (n - 1)) * student(n - 1) / math.sqrt(2))


def _jackknife(
    difference: Callable[[NDArray[np.intp] | slice], Floats], grouped: _Groups, values: Floats
) -> list[Interval]:
    """Student's t intervals over leave-one-group-out values: for a mean it is the ordinary t interval."""
    count = len(grouped.sizes)
    if count < 2:
        return [Interval(float(value), math.nan, math.nan) for value in values]
    everyone = np.arange(count)
    left = np.array([difference(grouped.rows(np.delete(everyone, g))) for g in everyone])
    halves = student(count - 1) * np.sqrt((count - 1) / count * ((left - left.mean(0)) ** 2).sum(0))
    return [Interval(float(v), float(v - half), float(v + half)) for v, half in zip(values, halves, strict=True)]
