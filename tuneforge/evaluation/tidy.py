"""What was measured as tidy rows: one number a row, with its interval, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneforge.components import Evaluator
from tuneforge.evaluation.figures import finite
from tuneforge.evaluation.measure import PROMPTED, Cell, Measured, Place
from tuneforge.evaluation.resampled import Resampled
from tuneforge.evaluation.significance import detectable, holm, reaching, sign_flip
from tuneforge.evaluation.statistics import Floats, Interval, proportion, proportion_difference
from tuneforge.rows import Metric

if TYPE_CHECKING:
    from tuneforge.settings import Run

POOLED = "*"
"""The set of rows that stand for all target sets together."""


@dataclass(frozen=True)
class Table:
    """The variants of one evaluator on one set, or on all target sets together."""

    place: Place
    role: str
    protocol: str
    cells: Mapping[str, Cell]


def rows(
    run: Run, measured: Measured, stage: str = "", pairs: Sequence[tuple[str, str]] | None = None
) -> list[dict[str, Any]]:
    """Metric rows in the order of evaluators, sets and metrics.

    Each variant has a row with `versus` empty. `pairs` names the differences (`model` minus `versus`, paired by
    row): without them tuned against every other variant, the best prompt first. Where several target sets share an
    evaluator, further rows with set `*` pool them.

    A difference has `p`, the permutation p-value; `p_adjusted` after Holm over the family of all differences between
    the same two variants on target test sets, whatever the evaluator, metric and set; and `detectable`, the difference
    that these rows find with 80 % power. All three are null elsewhere.
    """
    found: list[dict[str, Any]] = []
    pairs = _pairs(measured) if pairs is None else pairs
    for table in _tables(measured):
        evaluator = measured.evaluators[table.place.evaluator]
        resampled = Resampled(table.cells, evaluator, run.seed)
        for metric in evaluator.metrics:
            shown = _in_own_unit(table, measured) if metric.own_unit else table
            for model, versus, interval, p in intervals(shown, evaluator, metric, run.seed, pairs, resampled):
                found.append(
                    {
                        "model": model,
                        "stage": stage,
                        "evaluator": table.place.evaluator,
                        "metric": metric.name,
                        "set": table.place.set,
                        "split": table.place.split,
                        "role": table.role,
                        "protocol": table.protocol,
                        "prompt": measured.variants.get(model, {}).get("prompt", ""),
                        "versus": versus,
                        "value": finite(interval.value),
                        "low": finite(interval.low),
                        "high": finite(interval.high),
                        "p": finite(p),
                        "p_adjusted": None,
                        "detectable": finite(detectable(interval)) if versus else None,
                        "n": int(_told(shown.cells[model], metric).sum()),
                        "higher_is_better": metric.higher_is_better,
                    }
                )
    _adjust(found)
    return found


def _adjust(found: Sequence[dict[str, Any]]) -> None:
    """Sets `p_adjusted`, family by family."""
    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found:
        if row["p"] is not None and (row["split"], row["role"]) == ("test", "target"):
            families.setdefault((row["model"], row["versus"]), []).append(row)
    for family in families.values():
        for row, adjusted in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_adjusted"] = adjusted


def _pairs(measured: Measured) -> list[tuple[str, str]]:
    others = sorted({v for _, v in measured.cells} - {"tuned"}, key=lambda name: (name != PROMPTED, name))
    return [("tuned", name) for name in others]


def _tables(measured: Measured) -> Iterator[Table]:
    variants = list(dict.fromkeys(variant for _, variant in measured.cells))
    by_evaluator: dict[tuple[str, str], list[Table]] = {}
    for place in measured.rows:
        cells = {v: measured.cells[place, v] for v in variants if (place, v) in measured.cells}
        role = measured.sets[place.split, place.set].role
        table = Table(place, role, measured.protocol(place), cells)
        by_evaluator.setdefault((place.evaluator, place.split), []).append(table)
    for tables in by_evaluator.values():
        yield from tables
        targets = [table for table in tables if table.role == "target"]
        if len(targets) > 1:
            yield _pooled(targets)


def _in_own_unit(table: Table, measured: Measured) -> Table:
    """Without the variants that count something else."""
    cells = {name: cell for name, cell in table.cells.items() if "unit" not in measured.variants.get(name, {})}
    return replace(table, cells=cells)


def _pooled(tables: list[Table]) -> Table:
    """All sets as one; a group stays within its set."""
    shared = [v for v in tables[0].cells if all(v in t.cells for t in tables)]
    cells = {v: _joined([(t.place.set, t.cells[v]) for t in tables]) for v in shared}
    return Table(tables[0].place._replace(set=POOLED), tables[0].role, "+".join(t.protocol for t in tables), cells)


def _joined(cells: list[tuple[str, Cell]]) -> Cell:
    stats = {key: np.concatenate([cell.stats[key] for _, cell in cells]) for key in cells[0][1].stats}
    return Cell(stats, [f"{name}/{group}" for name, cell in cells for group in cell.groups])


def intervals(
    table: Table,
    evaluator: Evaluator,
    metric: Metric,
    seed: int,
    pairs: Sequence[tuple[str, str]],
    resampled: Resampled | None = None,
) -> Iterator[tuple[str, str, Interval, float]]:
    """(model, versus, interval, p-value): each variant by itself, then the differences.

    `resampled` holds what another metric of the same cells and evaluator needed already.
    """
    share, resampled = _is_share(evaluator, metric, table), resampled or Resampled(table.cells, evaluator, seed)
    least, greatest = metric.bounds
    for model, cell in table.cells.items():
        if share:
            told = _told(cell, metric)
            yield model, "", proportion(*_chosen(told, cell.groups, cell.stats[metric.name])), math.nan
        else:
            yield model, "", resampled.alone(model)[metric.name].within(*metric.bounds), math.nan
    for model, versus in pairs:
        if model not in table.cells or versus not in table.cells:
            continue
        one, other = table.cells[model], table.cells[versus]
        mean = share or type(evaluator).aggregate is Evaluator.aggregate
        sides = [c.stats[metric.name] for c in (one, other)] if mean else []
        *sides, groups = _chosen(_told(one, metric) & _told(other, metric), one.groups, *sides)
        p = sign_flip(sides[0] - sides[1], groups, seed) if mean else resampled.p_values(model, versus)[metric.name]
        if share and evaluator.pairwise and groups:
            yield model, versus, _over_ties(sides[0], sides[1], groups), p
        elif share:
            yield model, versus, proportion_difference(sides[0], sides[1], groups), p
        else:
            found = reaching(resampled.differences(model, versus)[metric.name], p)
            yield model, versus, found.within(least - greatest, greatest - least), p


def _over_ties(values: Floats, ties: Floats, groups: Sequence[str]) -> Interval:
    """Against what others are compared with in pairs: a tie by definition, which has no variance of its own."""
    return Interval(*(bound - float(ties.mean()) for bound in proportion(values, groups)))


def _told(cell: Cell, metric: Metric) -> NDArray[np.bool_]:
    """(n,) which rows the metric is about: not those whose statistic of its name is NaN."""
    values = cell.stats.get(metric.name)
    return np.ones(len(cell.groups), dtype=np.bool_) if values is None else ~np.isnan(values)


def _chosen(rows: NDArray[np.bool_], groups: Sequence[str], *values: Floats) -> tuple[Any, ...]:
    """The values of those rows, and their groups last."""
    return *(v[rows] for v in values), [group for group, there in zip(groups, rows, strict=True) if there]


def _is_share(evaluator: Evaluator, metric: Metric, table: Table) -> bool:
    """Whether the metric is the mean of a statistic of its name that is 0, 1 or (a tie) ½ in every row it is about."""
    return metric.share and all(_mean_of_shares(evaluator, metric, cell.stats) for cell in table.cells.values())


def _mean_of_shares(evaluator: Evaluator, metric: Metric, stats: Mapping[str, Floats]) -> bool:
    values = stats.get(metric.name)
    if values is None or not np.isin(told := values[~np.isnan(values)], (0.0, 0.5, 1.0)).all():
        return False
    if not len(told):  # about no row: what the other variants have decides
        return True
    mine = type(evaluator).aggregate is not Evaluator.aggregate or len(told) < len(values)
    return not mine or math.isclose(evaluator.aggregate(stats)[metric.name], told.mean())
