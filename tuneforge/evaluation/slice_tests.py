"""Whether one of many slices stands out from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats


def less_than_the_rest(values: Floats, own: Sequence[int]) -> float:
    """p that the rows at `own` are no worse than the others of (n,) `values`, more being better.

    Fisher's exact test where every value is 0 or 1, else Mann and Whitney's (1947). 1 where nothing is to be compared.
    """
    from scipy.stats import fisher_exact, mannwhitneyu

    inside = np.zeros(len(values), dtype=bool)
    inside[list(own)] = True
    inside, values = inside[np.isfinite(values)], values[np.isfinite(values)]
    mine, others = values[inside], values[~inside]
    if not len(mine) or not len(others) or np.ptp(values) == 0:
        return 1.0
    if np.isin(values, (0.0, 1.0)).all():
        right, rest = mine.sum(), others.sum()
        return float(fisher_exact([[right, len(mine) - right], [rest, len(others) - rest]], "less").pvalue)
    return float(mannwhitneyu(mine, others, alternative="less").pvalue)
