"""Would more data help: each of the four answers."""

from __future__ import annotations

from typing import Any

import pytest

from tuneforge.evaluation.data_verdict import decide
from tuneforge.evaluation.learning_curve import Curve, Point, fit

STEEP = [0.2, 0.4, 0.6, 0.8]
FLAT = [0.8, 0.801, 0.799, 0.8]
ROWS = [500, 1000, 2000, 4000]


def curve(values: list[float], half: float, better: bool = True) -> Curve:
    return fit([Point(n, v, v - half, v + half) for n, v in zip(ROWS, values, strict=True)], better)


def piece(verdict: str) -> dict[str, Any]:
    return {"name": "refunds", "n": 40, "tuned": 0.3, "verdict": verdict}


@pytest.mark.parametrize(
    ("values", "half", "found", "target", "decision"),
    [
        (STEEP, 0.02, [], None, "more of the same"),
        (STEEP, 0.02, [piece("coverage")], 0.5, "more of the same"),
        (FLAT, 0.002, [], None, "enough"),
        (FLAT, 0.002, [], 0.75, "enough"),
        (FLAT, 0.002, [], 0.9, "other data"),
        (FLAT, 0.002, [piece("coverage")], None, "other data"),
        (FLAT, 0.002, [piece("volume")], None, "enough"),
        (FLAT, 0.002, [piece("")], None, "enough"),
        (FLAT, 0.1, [], None, "not settled"),
    ],
)
def test_answers(
    values: list[float], half: float, found: list[dict[str, Any]], target: float | None, decision: str
) -> None:
    said, text = decide(curve(values, half), found, 0.01, target, "exact_match")
    assert said == decision
    assert "exact_match from 4,000 to 8,000 rows" in text
    assert ("refunds (.30, n=40)" in text) == (said == "other data" and bool(found))


def test_a_loss_that_falls_is_a_gain() -> None:
    said, text = decide(curve([1.0, 0.8, 0.6, 0.4], 0.01, better=False), [], 0.01, None, "bits_per_byte")
    assert said == "more of the same"
    assert "rows: -." in text
