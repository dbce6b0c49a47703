"""metrics.json as a table, and in one line each what got better and what got worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge.evaluation.figures import figure, rival, with_interval

MOST = 2000
"""Rows of the table."""


@dataclass(frozen=True)
class Number:
    """A row of metrics.json in words; `sort` is the number that `value` shows."""

    set: str
    role: str
    metric: str
    model: str
    stage: str
    value: str
    sort: float | None
    n: int
    better: str
    p: str
    adjusted: str
    detectable: str
    means: str
    """better, worse or not proven, of a difference."""


def numbers(rows: Sequence[Mapping[str, Any]]) -> list[Number]:
    """One line per number, at most 2,000."""
    return [
        Number(
            set=f"{row['split']}.{row['set']}",
            role=row["role"],
            metric=metric_name(row),
            model=f"{row['model']} - {row['versus']}" if row["versus"] else row["model"],
            stage=row.get("stage") or "",
            value=interval(row),
            sort=row["value"],
            n=row["n"],
            better="higher" if row["higher_is_better"] else "lower",
            p=_p(row.get("p")),
            adjusted=_p(row.get("p_adjusted")),
            detectable="" if row.get("detectable") is None else figure(row["detectable"]),
            means=means(row) if row["versus"] and row["value"] is not None else "",
        )
        for row in rows[:MOST]
    ]


def metric_name(row: Mapping[str, Any]) -> str:
    """`rouge.rouge_l`; only the metric where the evaluator has the same name."""
    return str(row["metric"] if row["metric"] == row["evaluator"] else f"{row['evaluator']}.{row['metric']}")


def interval(row: Mapping[str, Any]) -> str:
    """`.81 [.77,.84]` of a metric row, of a difference with its sign."""
    return with_interval(row["value"], row["low"], row["high"], sign=bool(row["versus"]))


def means(row: Mapping[str, Any]) -> str:
    """What the interval of a difference proves: better, worse or not proven."""
    low, high = row["low"], row["high"]
    if low is None or high is None or low <= 0 <= high:
        return "not proven"
    return "better" if (low > 0) == row["higher_is_better"] else "worse"


def changes(metrics: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Better, worse and not proven: the differences on test sets from what the tuned model is compared with there.

    Named where it is not what the verdict was reached against. A number that the other has none of is left out.
    """
    verdict = metrics.get("verdict") or {}
    usual = (verdict.get("primary") or {}).get("versus")
    rows = [r for r in metrics.get("rows") or [] if r.get("split") == "test" and r["model"] == "tuned"]
    hardest: dict[tuple[str, ...], dict[str, Mapping[str, Any]]] = {}
    known = {(r["set"], r["evaluator"], r["metric"]) for r in rows if not r["versus"] and r["value"] is not None}
    for row in rows:
        if row["versus"]:
            hardest.setdefault((row["set"], row["evaluator"], row["metric"]), {})[row["versus"]] = row
    found: dict[str, list[str]] = {"better": [], "worse": [], "not proven": []}
    for by_rival in hardest.values():
        role = next(iter(by_rival.values()))["role"]
        row = by_rival[rival(verdict, role, by_rival)]
        if row["value"] is None and (row["set"], row["evaluator"], row["metric"]) in known:
            continue
        where = "all target sets" if row["set"] == "*" else row["set"]
        shown = ": no number" if row["value"] is None else f" {interval(row)}"
        other = "" if usual in (None, row["versus"]) or row["value"] is None else f" to {row['versus']}"
        found[means(row)].append(f"{metric_name(row)} on {where}{shown}{other}")
    return [(state, lines) for state, lines in found.items() if lines]


def _p(value: float | None) -> str:
    """`.031`; below a thousandth `<.001`."""
    return "" if value is None else "<.001" if value < 0.001 else figure(value, 3)
