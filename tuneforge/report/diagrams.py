"""Geometry of reliability and risk-coverage curves; the template draws them, so that all text is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge.evaluation.figures import figure, in_order
from tuneforge.report.charts import nice_ticks

WIDTH, HEIGHT = 440.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 12.0, 44.0
KINDS = {
    "reliability": ("Reliability", "confidence", "share that is right"),
    "risk_coverage": ("Risk and coverage", "share answered, the surest first", "share of those that is wrong"),
}
"""Kind → title and what stands on the axes."""
MOST = 200
"""Points of a curve that are drawn, evenly chosen."""


@dataclass(frozen=True)
class Mark:
    """A point, placed, with the ends of its interval where it has one."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Curve:
    """The points of one variant."""

    variant: str
    line: str
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Diagram:
    """One kind of curve of one evaluator on one set, a curve for each variant."""

    kind: str
    title: str
    where: str
    across: str
    up: str
    curves: Sequence[Curve]
    x: Sequence[tuple[float, str]]
    y: Sequence[tuple[float, str]]
    diagonal: str
    """Where confidence and share would be equal; empty: no such line."""


def diagrams(curves: Sequence[Mapping[str, Any]]) -> list[Diagram]:
    """`curves` of metrics.json, one diagram for each evaluator, set and kind; unknown kinds are left out."""
    places = dict.fromkeys((c["evaluator"], c["split"], c["set"], c["kind"]) for c in curves if c["kind"] in KINDS)
    found = []
    for evaluator, split, name, kind in places:
        wanted = {"evaluator": evaluator, "split": split, "set": name, "kind": kind}
        here = {c["model"]: _finite(c["points"]) for c in curves if wanted.items() <= c.items()}
        here = {model: points for model, points in here.items() if points}
        if here:
            found.append(_diagram(kind, f"{evaluator} on {split}.{name}", here))
    return found


def _diagram(kind: str, where: str, by_model: Mapping[str, Sequence[Mapping[str, Any]]]) -> Diagram:
    title, across, up = KINDS[kind]
    ends = (p.get(end) for points in by_model.values() for p in points for end in ("y", "high"))
    top = 1.0 if kind == "reliability" else _top(v for v in ends if v is not None)
    curves = [_curve(model, by_model[model], top, marks=kind == "reliability") for model in in_order(by_model)]
    x_ticks, y_ticks = nice_ticks(0, 1), nice_ticks(0, top)
    diagonal = f"{_at(0, 0, 1)[0]},{_at(0, 0, 1)[1]} {_at(1, 1, 1)[0]},{_at(1, 1, 1)[1]}"
    return Diagram(
        kind=kind,
        title=title,
        where=where,
        across=across,
        up=up,
        curves=curves,
        x=[(_at(t, 0, top)[0], figure(t, 1)) for t in x_ticks],
        y=[(_at(0, t, top)[1], figure(t, 1 if top == 1 else 2)) for t in y_ticks],
        diagonal=diagonal if kind == "reliability" else "",
    )


def _curve(variant: str, points: Sequence[Mapping[str, Any]], top: float, marks: bool) -> Curve:
    drawn = points[:: math.ceil(len(points) / MOST)]
    drawn = drawn if drawn[-1] is points[-1] else [*drawn, points[-1]]
    placed = [_at(p["x"], p["y"], top) for p in drawn]
    line = " ".join(f"{x},{y}" for x, y in placed)
    return Curve(variant, line, [_mark(p, top) for p in drawn] if marks or len(drawn) == 1 else [])


def _mark(point: Mapping[str, Any], top: float) -> Mark:
    x, y = _at(point["x"], point["y"], top)
    low, high = (None if point.get(end) is None else _at(0, point[end], top)[1] for end in ("low", "high"))
    count = f", n = {point['n']:,}" if point.get("n") is not None else ""
    return Mark(x, y, low, high, f"{figure(point['x'])} → {figure(point['y'])}{count}")


def _finite(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [p for p in points if all(isinstance(p.get(k), int | float) and math.isfinite(p[k]) for k in ("x", "y"))]


def _top(values: Iterable[float]) -> float:
    """A round end of the scale above all values."""
    largest = max((v for v in values if math.isfinite(v)), default=1.0)
    return next((top for top in (0.05, 0.1, 0.2, 0.5, 1.0) if largest <= top), largest)


def _at(x: float, y: float, top: float) -> tuple[float, float]:
    across = LEFT + min(max(x, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)
    return round(across, 1), round(TOP + (1 - min(max(y / top, 0.0), 1.0)) * (HEIGHT - TOP - BOTTOM), 1)
