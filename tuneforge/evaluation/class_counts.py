"""Precision, recall and F1 of classes from counts, as scikit-learn computes them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class Counts(NamedTuple):
    """Rows of each class, arrays (classes,)."""

    right: NDArray[np.int64]
    predicted: NDArray[np.int64]
    true: NDArray[np.int64]

    @classmethod
    def of(cls, predicted: Numbers, true: Numbers, classes: int | None = None) -> Counts:
        """From the place of the predicted and of the true class of each row; a place beyond `classes` is no class."""
        said, meant = predicted.astype(np.int64), true.astype(np.int64)
        size = classes or int(max(said.max(initial=0), meant.max(initial=0))) + 1
        right = np.bincount(meant[said == meant], minlength=size)
        return cls(right, np.bincount(said, minlength=size)[:size], np.bincount(meant, minlength=size)[:size])

    def averages(self) -> dict[str, float]:
        """`macro_f1`, `micro_f1`, `macro_precision` and `macro_recall`.

        Over the classes that stand in the rows or are predicted; of these the precision of a class that is never
        predicted, and the recall of one that stands in no row, count as 0 (scikit-learn's `zero_division=0`). NaN
        without any class.
        """
        there = self.predicted + self.true > 0
        right, predicted, true = (side[there] for side in self)
        macro = {
            "macro_f1": 2 * right / (predicted + true),
            "macro_precision": right / np.maximum(predicted, 1),
            "macro_recall": right / np.maximum(true, 1),
        }
        nothing = not there.any()
        micro = float("nan") if nothing else float(2 * right.sum() / (predicted + true).sum())
        return {"micro_f1": micro} | {k: float("nan") if nothing else float(v.mean()) for k, v in macro.items()}
