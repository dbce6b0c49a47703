"""Which classes are taken for which others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneforge.components import Context
from tuneforge.evaluation.class_counts import Counts
from tuneforge.evaluation.measure import Measured

NO_CLASS = "(no class)"
"""What an answer that names no class is shown as."""
OTHERS = "(others)"
SHOWN = 30
"""Classes with most rows that a matrix shows; the rest are pooled."""


def confusions(measured: Measured, context: Context) -> list[dict[str, Any]]:
    """For metrics.json: a matrix for each variant and set on which one class of each row is predicted.

    `counts[i][j]` rows of class `labels[i]` were taken for `labels[j]`. `classes` holds the precision, recall and F1 of
    each class, null where there is nothing to divide by.
    """
    found = []
    for (place, variant), cell in measured.cells.items():
        names = list(measured.evaluators[place.evaluator].classes(measured.rows[place], context))
        if not names or not {"predicted", "true"} <= cell.stats.keys():
            continue
        labels, counts = _matrix(cell.stats["predicted"], cell.stats["true"], names)
        keys = {"evaluator": place.evaluator, "set": place.set, "split": place.split, "model": variant}
        of_each = Counts.of(cell.stats["predicted"], cell.stats["true"], len(names))
        found.append({**keys, "labels": labels, "counts": counts, "classes": _classes(of_each, names)})
    return found


def _matrix(
    predicted: NDArray[np.float64], true: NDArray[np.float64], names: Sequence[str]
) -> tuple[list[str], list[list[int]]]:
    """Labels and counts: classes in their order, but those with fewest rows pooled, and none that never occurs."""
    said, meant = predicted.astype(np.int64), true.astype(np.int64)
    size = len(names)
    whole = np.bincount(meant * size + said, minlength=size * size).reshape(size, size)
    rows, there = whole.sum(1), np.flatnonzero(whole.sum(0) + whole.sum(1))
    ranked: list[int] = sorted(there.tolist(), key=lambda i: (names[i] != NO_CLASS, -rows[i], i))
    kept, pooled = sorted(ranked[:SHOWN]), sorted(ranked[SHOWN:])
    groups = [[i] for i in kept] + ([pooled] if pooled else [])
    counts = [[int(whole[np.ix_(a, b)].sum()) for b in groups] for a in groups]
    return [names[i] for i in kept] + [OTHERS] * bool(pooled), counts


def _classes(counts: Counts, names: Sequence[str]) -> list[dict[str, Any]]:
    """Figures of each class that occurs."""
    return [
        {
            "label": name,
            "rows": int(true),
            "predicted": int(predicted),
            "precision": float(right / predicted) if predicted else None,
            "recall": float(right / true) if true else None,
            "f1": float(2 * right / (predicted + true)),
        }
        for name, right, predicted, true in zip(names, *counts, strict=True)
        if predicted + true and name != NO_CLASS
    ]
