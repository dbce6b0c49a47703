"""Parts of the test sets: where the tuned model is weak, and where it lost or gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge.evaluation.figures import figure, with_interval
from tuneforge.report.numbers import metric_name

MOST = 500
"""Slices that are shown; how many more there are is said."""
CAUSES = {"coverage": "thin in training", "volume": "trained in proportion"}
"""What is said of why a slice is weak."""


@dataclass(frozen=True)
class Line:
    """A slice in words."""

    set: str
    metric: str
    by: str
    name: str
    n: int
    base: str
    tuned: str
    difference: str
    sort: float | None
    badges: Sequence[tuple[str, str]]
    """(word, the state whose colours it wears)."""
    shares: tuple[float | None, float | None]
    """Of the test rows, and of the training rows."""
    examples: Sequence[tuple[str, str, str]]
    """(newly wrong, …, place, text)."""


def lines(slices: Sequence[Mapping[str, Any]]) -> list[Line]:
    """`slices` of metrics.json or program.json: those that are weak or lost first, then as they come."""
    ordered = sorted(slices, key=lambda one: not (one.get("weak") or one.get("worse")))
    return [_line(one) for one in ordered[:MOST]]


def _line(one: Mapping[str, Any]) -> Line:
    value = one.get("value")
    return Line(
        set=f"{one['split']}.{one['set']}" if one.get("split") else str(one.get("set") or ""),
        metric=metric_name(one) if one.get("evaluator") else "",
        by=str(one.get("by") or ""),
        name=str(one.get("name") or ""),
        n=int(one.get("n") or 0),
        base=figure(one.get("base")),
        tuned=with_interval(one.get("tuned"), one.get("tuned_low"), one.get("tuned_high")),
        difference="" if value is None else with_interval(value, one.get("low"), one.get("high"), sign=True),
        sort=value,
        badges=_badges(one),
        shares=(one.get("test_share"), one.get("train_share")),
        examples=[_example(example) for example in one.get("examples") or []],
    )


def _badges(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [("weak", "wrong")] if one.get("weak") else []
    found += [("worse", "wrong")] if one.get("worse") else []
    verdict = str(one.get("verdict") or "")
    return [*found, (CAUSES.get(verdict, verdict), "look")] if verdict else found


def _example(example: Any) -> tuple[str, str, str]:
    if not isinstance(example, Mapping):
        return "", "", str(example)
    return str(example.get("kind") or ""), str(example.get("place") or ""), str(example.get("text") or "")
