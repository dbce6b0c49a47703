"""Geometry of the report's dot plots; the template draws them, so that all text is escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tuneforge.evaluation.figures import digits_for, figure, in_order, rival, standing, with_interval

LEFT, RIGHT = 98.0, 340.0
"""Where the scale of a dot plot begins and ends, in SVG units."""
STEP = 30
TOPS = (0.05, 0.1, 0.25, 1.0)
"""Where a scale of shares may end."""


@dataclass(frozen=True)
class Dot:
    """A variant's value with its interval, placed."""

    variant: str
    y: float
    x: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Panel:
    """One dot-and-interval plot: the variants on one set."""

    role: str
    metric: str
    set: str
    n: int
    higher_is_better: bool
    dots: Sequence[Dot]
    ticks: Sequence[tuple[float, str]]
    height: float
    shade: tuple[float, float] | None
    """Beginning and width of the loss that the budget accepts."""
    budget: str = ""
    difference: str = ""
    state: str = ""


def panels(metrics: Mapping[str, Any]) -> list[Panel]:
    """The deciding metric of the target, and of every set that has a budget, in that order."""
    rows = [r for r in metrics.get("rows") or [] if r.get("split") == "test"]
    verdict = metrics.get("verdict") or {}
    budgets = {(b["set"], b["evaluator"], b["metric"]): b for b in verdict.get("budgets") or []}
    wanted: dict[tuple[str, str, str], str] = {}
    primary = verdict.get("primary")
    if primary:
        wanted[primary["set"], primary["evaluator"], primary["metric"]] = "target"
    wanted |= {key: b["role"] for key, b in budgets.items()}
    for row in rows:  # a role that the verdict does not mention still has its numbers
        if row["role"] not in wanted.values():
            wanted[row["set"], row["evaluator"], row["metric"]] = row["role"]
    found = []
    for key, role in wanted.items():
        here = [r for r in rows if (r["set"], r["evaluator"], r["metric"]) == key]
        values = {r["model"]: r for r in here if not r["versus"] and r["value"] is not None}
        if values:
            found.append(_panel(role, values, here, budgets.get(key), verdict))
    return found


def _panel(
    role: str,
    values: Mapping[str, Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    budget: Mapping[str, Any] | None,
    verdict: Mapping[str, Any],
) -> Panel:
    base = values.get("base", {}).get("value")
    better = bool(next(iter(values.values()))["higher_is_better"])
    edge = None if budget is None or base is None else base - budget["budget"] * (1 if better else -1)
    versus = rival(verdict, role, (r["versus"] for r in rows if r["versus"]))
    change = next((r for r in rows if r["versus"] == versus), None)
    drawn = panel(
        role, {v: values[v] for v in in_order(values)}, None if edge is None or base is None else (edge, base)
    )
    return replace(
        drawn,
        budget="" if budget is None else f"-{figure(budget['budget'])}",
        difference=f"tuned - {versus}  {interval(change, sign=True)}" if change else "",
        state=str(budget["state"]) if budget else standing(verdict) if role == "target" else "",
    )


def panel(role: str, values: Mapping[str, Mapping[str, Any]], accepted: tuple[float, float] | None = None) -> Panel:
    """A metric row of each variant, in that order; `accepted` are the two ends of what is shaded."""
    first = next(iter(values.values()))
    scale = Scale([x for r in values.values() for x in (r["low"], r["value"], r["high"])] + [*(accepted or ())])
    dots = [_dot(name, row, i, scale) for i, (name, row) in enumerate(values.items())]
    return Panel(
        role=role,
        metric=str(first["metric"]),
        set="all target sets" if first["set"] == "*" else str(first["set"]),
        n=max(int(row["n"]) for row in values.values()),
        higher_is_better=bool(first["higher_is_better"]),
        dots=dots,
        ticks=[(scale(t), figure(t, scale.digits)) for t in scale.ticks],
        height=len(dots) * STEP + 34,
        shade=_span(scale(accepted[0]), scale(accepted[1])) if accepted else None,
    )


def interval(row: Mapping[str, Any], sign: bool = False) -> str:
    """`.81 [.77,.84]` of a metric row."""
    return with_interval(row["value"], row["low"], row["high"], sign)


def _dot(variant: str, row: Mapping[str, Any], place: int, scale: Scale) -> Dot:
    low, high = (None if row[k] is None else scale(row[k]) for k in ("low", "high"))
    return Dot(variant, 16 + place * STEP, scale(row["value"]), low, high, interval(row))


def _span(a: float, b: float) -> tuple[float, float]:
    return min(a, b), abs(a - b)


class Scale:
    """Values to SVG units: 0 to 1 for shares, to less where all are small; else their range with some air."""

    def __init__(self, values: Sequence[float | None]) -> None:
        known = [v for v in values if v is not None and math.isfinite(v)]
        low, high = min(known), max(known)
        if low >= -0.1 and high <= 1.0:
            low, high = min(0.0, low), next(top for top in TOPS if high <= top)
        else:
            air = (high - low or abs(high) or 1.0) * 0.08
            low, high = low - air, high + air
        self.low, self.high = low, high
        self.ticks = nice_ticks(low, high)
        self.digits = digits_for(0.0, self.ticks[1] - self.ticks[0]) if len(self.ticks) > 1 else 2

    def __call__(self, value: float) -> float:
        return round(LEFT + (value - self.low) / (self.high - self.low) * (RIGHT - LEFT), 1)


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers within the range."""
    rough = (high - low) / about
    if rough <= 0 or not math.isfinite(rough):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]
