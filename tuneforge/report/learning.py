"""Geometry of a learning curve: runs with their intervals, the law through them and its band."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge.evaluation.figures import digits_for, figure, with_interval
from tuneforge.report.charts import nice_ticks

WIDTH, HEIGHT = 820.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 30.0, 14.0, 30.0


@dataclass(frozen=True)
class Mark:
    """One run, placed; `low` and `high` are the ends of its interval."""

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class LearningPlot:
    """A metric over training rows, on a logarithmic scale."""

    title: str
    width: float
    height: float
    marks: Sequence[Mark]
    line: str
    band: str
    now: float
    """Where the rows of the largest run stand; what follows is the law alone."""
    x: Sequence[tuple[float, str]]
    y: Sequence[tuple[float, str]]


def plot(program: Mapping[str, Any]) -> LearningPlot | None:
    """The curve of program.json; None where there is none."""
    points, line = program.get("points") or [], program.get("line") or []
    if not points or not line:
        return None
    scale = _Scale(points, line)
    band = [scale(p["rows"], p["high"]) for p in line] + [scale(p["rows"], p["low"]) for p in reversed(line)]
    low, high = scale.low, scale.high
    ticks = nice_ticks(low, high)
    digits = digits_for(0.0, ticks[1] - ticks[0]) if len(ticks) > 1 else 2
    sizes = sorted({p["rows"] for p in points} | {2 * points[-1]["rows"], 4 * points[-1]["rows"]})
    return LearningPlot(
        title=f"{program.get('metric')} on {program.get('set')} over training rows",
        width=WIDTH,
        height=HEIGHT,
        marks=[_mark(p, scale) for p in points],
        line=_points(scale(p["rows"], p["value"]) for p in line),
        band=_points(band),
        now=scale(points[-1]["rows"], low)[0],
        x=[(scale(n, low)[0], f"{n:,}") for n in sizes],
        y=[(scale(points[0]["rows"], t)[1], figure(t, digits)) for t in ticks],
    )


def _mark(point: Mapping[str, Any], scale: _Scale) -> Mark:
    x, y = scale(point["rows"], point["value"])
    low, high = (scale(point["rows"], point[end])[1] for end in ("low", "high"))
    return Mark(x, y, low, high, with_interval(point["value"], point["low"], point["high"]))


def _points(places: Any) -> str:
    return " ".join(f"{x},{y}" for x, y in places)


class _Scale:
    """Rows by their logarithm, values as they are, to SVG units."""

    def __init__(self, points: Sequence[Mapping[str, Any]], line: Sequence[Mapping[str, Any]]) -> None:
        values = [p[key] for p in (*points, *line) for key in ("low", "value", "high")]
        air = (max(values) - min(values) or 1.0) * 0.05
        self.low, self.high = min(values) - air, max(values) + air
        rows = [p["rows"] for p in (*points, *line)]
        self.first, self.last = math.log(max(min(rows), 1)), math.log(max(*rows, 2))

    def __call__(self, rows: float, value: float) -> tuple[float, float]:
        across = (math.log(max(rows, 1)) - self.first) / ((self.last - self.first) or 1.0)
        x = LEFT + across * (WIDTH - LEFT - RIGHT)
        y = TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)
