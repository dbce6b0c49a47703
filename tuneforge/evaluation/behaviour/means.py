"""Means over the rows that a statistic is about: NaN says that a row has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats


def mean(values: Floats) -> float:
    """The mean of an array (n,) without its NaN; NaN where nothing is left."""
    told = values[~np.isnan(values)]
    return float(told.mean()) if len(told) else float("nan")


def spearman(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation of two arrays (n,), without rows where either is NaN.

    NaN for fewer than two rows, and where one side does not vary.
    """
    from scipy.stats import rankdata

    told = ~np.isnan(one) & ~np.isnan(other)
    first, second = one[told], other[told]
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def over_rows(columns: Sequence[Floats]) -> Floats:
    """(n,) the mean of several arrays (n,) in each row, without their NaN; NaN where a row has nothing else."""
    stacked = np.stack(columns)
    told = ~np.isnan(stacked)
    counts = told.sum(axis=0)
    sums = np.where(told, stacked, 0.0).sum(axis=0)
    found: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return found
