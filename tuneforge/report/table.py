"""The table of results on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuneforge.evaluation.figures import figure, in_order, rival, standing, with_interval
from tuneforge.report.numbers import metric_name

if TYPE_CHECKING:
    from rich.table import Table

ROLES = ("target", "general", "safety")
BUDGETED = ROLES[1:]


def result_table(metrics: Mapping[str, Any]) -> Table:
    """One line per metric and test set: base, prompt or rule, tuned, the paired difference, and what it means."""
    from rich.table import Table
    from rich.text import Text

    prompt = ((metrics.get("variants") or {}).get("prompted") or {}).get("name")
    models = in_order(row["model"] for row in metrics["rows"])
    table = Table(box=None, padding=(0, 3, 0, 0), title=None, header_style="none")
    shown = [f"prompted ({prompt})" if model == "prompted" and prompt else model for model in models]
    difference = f"tuned - {_usual(metrics, models)}"
    for heading in ("Result", "", "", *shown, difference, ""):
        table.add_column(Text(heading, style="bold" if heading == "Result" else ""), no_wrap=True)
    for line in _lines(metrics, models):
        table.add_row(*(Text(cell) for cell in line))
    return table


def _lines(metrics: Mapping[str, Any], models: Sequence[str]) -> list[list[str]]:
    usual = _usual(metrics, models)
    by_set: dict[tuple[str, str, str, str], dict[tuple[str, str], Mapping[str, Any]]] = {}
    for row in metrics["rows"]:
        if row["split"] in ("test", "train"):  # training rows: what was memorised
            key = row["role"], row["set"], row["evaluator"], row["metric"]
            by_set.setdefault(key, {})[row["model"], row["versus"]] = row
    lines, named = [], Counter((role, name, metric) for role, name, _, metric in by_set)
    for key in sorted(by_set, key=lambda k: ROLES.index(k[0]) if k[0] in ROLES else len(ROLES)):
        rows = by_set[key]
        if all(row["value"] is None for row in rows.values()) and not _means(metrics, key):
            continue  # about no row of this set: it stands in metrics.json
        rivals = ("base",) if key[0] in BUDGETED else (usual, "base")
        change = next((rows[k] for v in rivals if (k := ("tuned", v)) in rows), None)
        cells = [_cell(rows.get((model, ""))) for model in models]
        cells[0] = cells[0].split(" [")[0]  # the base's interval is in metrics.json; here it would crowd out the others
        name = f"{key[0]} {'(all)' if key[1] == '*' else key[1]}" if key[1] != key[0] else key[0]
        count = max(row["n"] for (_, versus), row in rows.items() if not versus)
        metric = metric_name(next(iter(rows.values()))) if named[key[:2] + key[3:]] > 1 else key[3]
        lines.append([f"  {name}", metric, f"n={count}", *cells, _change(change, usual), _means(metrics, key)])
    return lines


def _usual(metrics: Mapping[str, Any], models: Sequence[str]) -> str:
    """What the verdict was reached against."""
    return rival(metrics.get("verdict") or {}, "target", (model for model in models if model != "tuned"))


def _change(row: Mapping[str, Any] | None, headed: str) -> str:
    """The difference; from whom, where that is not whom the column names."""
    other = f" to {row['versus']}" if row and row["versus"] != headed else ""
    return f"{_cell(row, True)}{other}"


def _cell(row: Mapping[str, Any] | None, sign: bool = False) -> str:
    return "-" if row is None else with_interval(row["value"], row["low"], row["high"], sign)


def _means(metrics: Mapping[str, Any], key: tuple[str, str, str, str]) -> str:
    """The decision on the deciding line, the state of the budget on its line, the direction where it is unusual."""
    verdict = metrics.get("verdict") or {}
    primary = verdict.get("primary") or {}
    if key[1:] == (primary.get("set"), primary.get("evaluator"), primary.get("metric")):
        return standing(verdict)
    for budget in verdict.get("budgets") or []:
        if key == (budget["role"], budget["set"], budget["evaluator"], budget["metric"]):
            words = {"kept": "within", "broken": "broken:", "not settled": "not settled:"}
            return f"{words[budget['state']]} budget -{figure(budget['budget'])}"
    return ""
