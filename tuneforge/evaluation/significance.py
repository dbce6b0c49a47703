"""Whether a paired difference could be chance: permutation p-values, Holm's correction, and what n rows can show.

The null hypothesis is that the two variants are exchangeable within a row (within a group, where rows have one): then
swapping them there is as likely as not (Fisher 1935; Noreen 1989; Yeh 2000, arXiv:cs/0008005). p-values are two-sided.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tuneforge.evaluation.statistics import Aggregates, Floats, Interval, Z

Z_POWER = 0.8416212335729143
"""80 % quantile of the normal distribution: the power at which a difference counts as detectable."""
FLIPS, SWAPS = 9999, 1999
"""Permutations that are drawn for a mean, and for any other metric; all of them are used where they are fewer."""
BLOCK = 2**22
"""Signs in memory at once."""


def sign_flip(differences: Floats, groups: Sequence[str], seed: int) -> float:
    """p-value of the mean of paired differences (n,). NaN where one is not finite, or there is none.

    Where all differences are equally large, as those of 0/1 outcomes are, it is exact: McNemar's binomial test of
    the rows that differ. Else the signs of the groups' sums are flipped: in every way where there are few, else in
    FLIPS random ways, the observed one included (Phipson and Smyth 2010).
    """
    if not len(differences) or not np.isfinite(differences).all():
        return math.nan
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(index, differences)
    sums = sums[np.abs(sums) > 1e-12 * np.abs(differences).max(initial=0.0)]
    if not len(sums):
        return 1.0
    sizes = np.abs(sums)
    if np.ptp(sizes) <= 1e-12 * sizes.max():
        from scipy.stats import binomtest

        return float(binomtest(int((sums > 0).sum()), len(sums)).pvalue)
    least = abs(float(sums.sum())) * (1 - 1e-12)
    blocks = (np.abs((2.0 * signs - 1) @ sizes) >= least for signs in _signs(len(sums), FLIPS, seed))
    return _share(np.concatenate(list(blocks)), len(sums), FLIPS)


def swaps(
    stats: Mapping[str, Floats],
    versus: Mapping[str, Floats],
    aggregates: Aggregates,
    groups: Sequence[str],
    seed: int,
) -> list[float]:
    """p-values of `aggregates(stats) - aggregates(versus)`, k numbers each: the sides of whole groups are swapped.

    A swap in which a metric is not a number counts as one that differs more. NaN where a difference itself is none.
    """
    observed = aggregates(stats) - aggregates(versus)
    if not len(groups):
        return [math.nan for _ in observed]
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    count, least = int(index.max()) + 1, abs(observed) * (1 - 1e-12)

    def as_far(signs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        rows = signs[index]
        here = aggregates({k: np.where(rows, v, versus[k]) for k, v in stats.items()})
        there = aggregates({k: np.where(rows, versus[k], v) for k, v in stats.items()})
        return ~(abs(here - there) < least)

    found = np.array([as_far(signs) for block in _signs(count, SWAPS, seed) for signs in block])
    shares = [_share(column, count, SWAPS) for column in found.T]
    return [p if math.isfinite(value) else math.nan for p, value in zip(shares, observed, strict=True)]


def _signs(count: int, most: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Blocks (permutations, count) of signs: every way where there are no more than `most`, else that many drawn."""
    if 2**count <= most:
        yield (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)
        return
    rng, step = np.random.default_rng(seed), max(BLOCK // count, 1)
    for start in range(0, most, step):
        drawn = rng.integers(0, 256, (min(step, most - start), -(-count // 8)), dtype=np.uint8)
        yield np.unpackbits(drawn, axis=1, count=count).astype(bool)


def _share(as_far: NDArray[np.bool_], count: int, most: int) -> float:
    """How many permutations are as far from 0 as what was observed, which counts as one where they were drawn."""
    observed = int(2**count > most)
    return float((as_far.sum() + observed) / (len(as_far) + observed))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family, in its order (Holm 1979): the error over all of them together is bounded."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]


def reaching(interval: Interval, p: float) -> Interval:
    """The interval, made to reach 0 where the p-value is above 5 %.

    An interval rests on an error and a skewness that are estimated from the rows; swaps are exact however the rows
    are distributed, where the variants are alike. Their word decides whether there is a difference at all.
    """
    if not p > 0.05 or math.isnan(interval.low):
        return interval
    return interval._replace(low=min(interval.low, 0.0), high=max(interval.high, 0.0))


def detectable(interval: Interval) -> float:
    """The smallest true difference that as many rows find with 80 % power, two-sided at 5 %.

    `(z(.975) + z(.80)) x standard error`, the standard error being the 95 % interval's half width over z(.975): the
    observed paired variance decides, by the interval on which the verdict rests. Where differences are skewed, gains
    and losses of that size are not found equally often: from 66 to 99 % of them in 20 exponential ones. NaN where no
    row differs in a metric that is no share, for then nothing was seen of how differences vary.
    """
    half = (interval.high - interval.low) / 2
    return half * (Z + Z_POWER) / Z if half > 0 else math.nan
