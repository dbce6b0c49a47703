"""The curves of metrics.json: what evaluators draw of the rows that they measured."""

from __future__ import annotations

from typing import Any

from tuneforge.evaluation.measure import Measured


def curves(measured: Measured) -> list[dict[str, Any]]:
    """One object per evaluator, set, variant and kind: `points` with `x`, `y`, `n`, `low` and `high`."""
    return [
        {
            "evaluator": place.evaluator,
            "set": place.set,
            "split": place.split,
            "model": variant,
            "kind": kind,
            "points": [dict(point) for point in points],
        }
        for (place, variant), cell in measured.cells.items()
        for kind, points in measured.evaluators[place.evaluator].curves(cell.stats).items()
    ]
