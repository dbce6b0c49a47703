"""Means over the rows that a statistic is about: NaN says that a row has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats


def mean(values: Floats) -> float:
    """The mean of an array (n,) without its NaN; NaN where nothing is left."""
    told = values[~np.isnan(values)]
    return float(told.mean()) if len(told) else float("nan")
