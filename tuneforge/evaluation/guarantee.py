"""A threshold of confidence above which errors are rare, guaranteed for rows like those it was chosen on.

Selection with guaranteed risk of Geifman and El-Yaniv 2017 (arXiv:1705.08500), over a fixed grid of shares as in Learn
then Test (Angelopoulos et al. 2021, arXiv:2110.01052): the bound of a share is not lower the fewer rows it has, so that
their binary search can turn the wrong way where rows are few.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats


SHARES = 20
"""Thresholds that are tried."""


class Threshold(NamedTuple):
    """Rows with a confidence of `value` or more have a share of errors below `bound`."""

    value: float
    bound: float
    errors: int
    """How many of the `rows` above it were wrong where it was chosen."""
    rows: int


def threshold(confidence: Floats, right: Floats, target: float, delta: float) -> Threshold | None:
    """The lowest of SHARES thresholds that keeps the share of errors below `target`, except with probability `delta`.

    `confidence` and `right` (0 or 1) are arrays (n,). The thresholds let 1, 19/20, … 1/20 of the rows pass, and each is
    tested with an equal part of `delta`. None: no bound is below `target`.
    """
    ranked = np.sort(confidence)[::-1]
    for place in range(SHARES, 0, -1) if len(ranked) else ():
        least = ranked[math.ceil(place * len(ranked) / SHARES) - 1]
        above = confidence >= least
        rows, errors = int(above.sum()), int((1 - right[above]).sum())
        bound = upper(errors, rows, delta / SHARES)
        if bound < target:
            return Threshold(float(least), bound, errors, rows)
    return None


def upper(errors: int, rows: int, delta: float) -> float:
    """The upper bound of Clopper and Pearson 1934 on the share of errors, exceeded with probability `delta`."""
    from scipy.stats import beta

    return 1.0 if errors == rows else float(beta.ppf(1 - delta, errors + 1, rows - errors))


def least_rows(target: float, delta: float) -> int:
    """How many rows it takes to bound the share of errors by `target` when none of them is wrong."""
    return math.floor(math.log(delta / SHARES) / math.log(1 - target)) + 1
