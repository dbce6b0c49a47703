"""A metric against the number of training rows: a power law, what doubling the rows would bring, and how sure that is.

`y(n) = c - a n^-b` for metrics of which more is better, `c + a n^-b` for others, with a >= 0: the form of Hestness et
al. 2017 (arXiv:1712.00409) and Rosenfeld et al. 2020 (arXiv:1909.12673).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EXPONENTS = np.geomspace(0.05, 2.0, 40)
"""Exponents b that are tried: published ones lie between 0.07 and 0.5 (Hestness et al.), steep ones at few rows."""
DRAWS = 2000
Z = 1.959963984540054
Floats = NDArray[np.float64]


class Point(NamedTuple):
    """One run: training rows, the metric and its 95 % interval."""

    rows: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """The fitted law, and what it says of more rows."""

    points: Sequence[Point]
    higher_is_better: bool
    line: Sequence[Point]
    """The law with its band over a grid of rows, to four times the largest run."""
    gain: tuple[float, float, float]
    """What doubling the rows of the largest run brings, better being positive: estimate, low, high."""
    recent: tuple[float, float, float]
    """What the last step of the curve did bring, from its last but one run to its last."""


def fit(points: Sequence[Point], higher_is_better: bool, seed: int = 0) -> Curve:
    """The law through at least three runs of different sizes, weighed by their intervals.

    The band comes from 2,000 seeded redraws of each run's value within its interval, each fitted again (parametric
    bootstrap). For each exponent the other two parameters are a linear problem, so nothing iterates.
    """
    points = sorted(points)
    rows = np.array([p.rows for p in points], dtype=np.float64)
    sign = 1.0 if higher_is_better else -1.0
    values = sign * np.array([p.value for p in points])
    errors = np.array([_error(p) for p in points])
    noise = np.random.default_rng(seed).standard_normal((DRAWS, len(points)))
    drawn = np.vstack([values, values + noise * errors])
    grid = np.geomspace(rows[0], 4 * rows[-1], 60)
    predicted = _laws(rows, drawn, errors, np.concatenate([grid, [rows[-1], 2 * rows[-1]]]))
    bands = np.percentile(predicted[1:, :-2], [2.5, 97.5], axis=0)
    gains = predicted[:, -1] - predicted[:, -2]
    line = [
        Point(round(n), sign * y, *sorted((sign * low, sign * high)))
        for n, y, low, high in zip(grid, predicted[0, :-2], *bands, strict=True)
    ]
    step, wide = float(values[-1] - values[-2]), Z * math.hypot(errors[-1], errors[-2])
    low, high = np.percentile(gains[1:], [2.5, 97.5])
    gain = float(gains[0]), float(low), float(high)
    return Curve(points, higher_is_better, line, gain, (step, step - wide, step + wide))


def _error(point: Point) -> float:
    """Standard error from the interval; a run without one, or all right, still has some."""
    return max((point.high - point.low) / (2 * Z), 1e-6)


def _laws(rows: Floats, drawn: Floats, errors: Floats, at: Floats) -> Floats:
    """(draws, at) of the best law for each row of `drawn` (draws, points), where more is better."""
    weights = 1 / errors**2
    best = np.full(len(drawn), np.inf)
    found = np.zeros((len(drawn), len(at)))
    for exponent in EXPONENTS:
        x = -((rows / rows[0]) ** -exponent)
        mean_x = (weights * x).sum() / weights.sum()
        mean_y = (drawn * weights).sum(1) / weights.sum()
        spread = (weights * (x - mean_x) ** 2).sum()
        slope = np.maximum(((drawn - mean_y[:, None]) * weights * (x - mean_x)).sum(1) / spread, 0.0)
        offset = mean_y - slope * mean_x
        wrong = (weights * (drawn - offset[:, None] - slope[:, None] * x) ** 2).sum(1)
        better = wrong < best
        best = np.where(better, wrong, best)
        law = offset[:, None] - slope[:, None] * (at / rows[0])[None, :] ** -exponent
        found = np.where(better[:, None], law, found)
    return found
