"""Whether one of many slices stands out from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats


def less_than_the_rest(values: Floats, own: Sequence[int], groups: Sequence[str]) -> float:
    """p that the rows at `own` are no worse than the others of (n,) `values`, more being better.

    Fisher's exact test where every value is 0 or 1, else Mann and Whitney's (1947). 1 where nothing is to be compared.
    Rows of one of (n,) `groups` are not independent: on either side they count once, by their mean.
    """
    from scipy.stats import fisher_exact, mannwhitneyu

    inside, told = np.zeros(len(values), dtype=bool), np.isfinite(values)
    inside[list(own)] = True
    mine, others = (_means(values[here], np.asarray(groups)[here]) for here in (told & inside, told & ~inside))
    both = np.concatenate([mine, others])
    if not len(mine) or not len(others) or np.ptp(both) == 0:
        return 1.0
    if np.isin(both, (0.0, 1.0)).all():
        right, rest = mine.sum(), others.sum()
        return float(fisher_exact([[right, len(mine) - right], [rest, len(others) - rest]], "less").pvalue)
    return float(mannwhitneyu(mine, others, alternative="less").pvalue)


def _means(values: Floats, groups: NDArray[np.str_]) -> Floats:
    """(groups,)"""
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    means: Floats = np.bincount(index, values, minlength=len(counts)) / counts
    return means
