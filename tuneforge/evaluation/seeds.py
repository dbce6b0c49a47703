"""Runs that differ only in their seed: one number for all, whose interval holds seeds as well as rows.

A seed is drawn as a row is: the best of several lucky ones says little of the next (Bouthillier et al. 2021, Accounting
for Variance in Machine Learning Benchmarks). So seeds are averaged, and never ranked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuneforge.evaluation.figures import finite
from tuneforge.evaluation.statistics import Floats, Interval, Z, student

MetricRow = Mapping[str, Any]
Samples = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
KEYS = ("model", "evaluator", "metric", "set", "split", "role", "protocol", "versus")
"""What the metric rows of several seeds have in common."""


def combined(values: Sequence[float], row_error: float, rows: int) -> Interval:
    """The mean of one value per seed, with a 95 % interval for the mean over all seeds and all rows.

    `row_error` is the standard error that the `rows` rows, which all seeds share, give the mean. Student's t intervals
    of both parts are added in quadrature (MOVER: Zou and Donner, Statistics in Medicine 27, 2008). How seed and row
    interact is in both, so that the interval is rather too wide. One seed says nothing of others: no interval.
    """
    count, mean = len(values), float(np.mean(values)) if len(values) else math.nan
    if count < 2 or not math.isfinite(row_error):
        return Interval(mean, math.nan, math.nan)
    between = student(count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    half = math.hypot(between, student(max(rows - 1, 1)) * row_error)
    return Interval(mean, mean - half, mean + half)


def row_error(rows: Sequence[MetricRow], stats: Sequence[Floats] = ()) -> float:
    """The standard error that rows give the mean over seeds, from each seed's own interval.

    Those intervals know groups, but not that an average over seeds varies less from row to row: `stats`, the (n,)
    numbers whose mean the metric is, one array per seed, tell by how much. Without them the error is rather too large.
    """
    bounds = [(row["low"], row["high"]) for row in rows]
    if any(low is None or high is None for low, high in bounds):
        return math.nan
    error = float(np.mean([(high - low) / (2 * Z) for low, high in bounds]))
    single = float(np.mean([np.nanvar(one) for one in stats])) if stats else 0.0
    return error * math.sqrt(float(np.nanvar(np.mean(stats, axis=0))) / single) if single else error


def over_seeds(runs: Sequence[Sequence[MetricRow]], samples: Sequence[Samples] = ()) -> list[dict[str, Any]]:
    """One metric row for all seeds, from the metric rows of each run; `seeds` counts the runs that have the number.

    `between` is the standard deviation between seeds; the interval of a share of rows ends at 0 and 1. Rows of another
    protocol stay apart. `samples` are those of `read_samples`, one per run.
    """
    found: dict[tuple[Any, ...], list[tuple[int, MetricRow]]] = {}
    for index, run in enumerate(runs):
        for row in run:
            found.setdefault(tuple(row.get(key) for key in KEYS), []).append((index, row))
    return [_one(dict(zip(KEYS, key, strict=True)), here, samples) for key, here in found.items()]


def _one(shared: dict[str, Any], here: Sequence[tuple[int, MetricRow]], samples: Sequence[Samples]) -> dict[str, Any]:
    told = [(index, row) for index, row in here if row["value"] is not None]
    rows, values = [row for _, row in told], [float(row["value"]) for _, row in told]
    if len(told) == 1:
        interval = Interval(values[0], *(math.nan if rows[0][end] is None else rows[0][end] for end in ("low", "high")))
    else:
        stats = _stats(rows, [samples[index] for index, _ in told]) if samples and told else []
        error = row_error(rows, stats) if rows else math.nan
        interval = combined(values, error, min((row["n"] for row in rows), default=0))
        if stats and all(np.isin(abs(one[~np.isnan(one)]), (0, 0.5, 1)).all() for one in stats):
            least = -1.0 if shared["versus"] else 0.0
            interval = interval.within(least, 1.0)
    return {
        **shared,
        **{name: finite(number) for name, number in interval._asdict().items()},
        "between": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "seeds": len(values),
        "n": min((row["n"] for _, row in here), default=0),
        "higher_is_better": here[0][1]["higher_is_better"],
    }


def read_samples(folder: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(split, set) → lines of samples.jsonl; empty where there is none."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    path = folder / "samples.jsonl"
    if not path.is_file():
        return found
    with path.open(encoding="utf-8") as lines:
        for one in map(json.loads, lines):
            found.setdefault((one["split"], one["set"]), []).append({"id": one["id"], "scores": one["scores"]})
    return found


def _stats(rows: Sequence[MetricRow], samples: Sequence[Samples]) -> list[Floats]:
    """The numbers whose mean the metric is, of the same rows for each seed; empty where they are not to be had."""
    found = [_of(row, one) for row, one in zip(rows, samples, strict=True)]
    ids = [[sample["id"] for sample in one.get((rows[0]["split"], rows[0]["set"]), ())] for one in samples]
    if not all(len(values) and here == ids[0] for values, here in zip(found, ids, strict=True)):
        return []
    means = [(float(np.nanmean(values)), row["value"]) for values, row in zip(found, rows, strict=True)]
    return found if all(math.isclose(mean, value, abs_tol=1e-9) for mean, value in means) else []


def _of(row: MetricRow, samples: Samples) -> Floats:
    name = f"{row['evaluator']}.{row['metric']}"
    here = list(samples.get((row["split"], row["set"]), ()))
    values = _numbers(name, row["model"], here)
    return values - _numbers(name, row["versus"], here) if row["versus"] else values


def _numbers(name: str, variant: str, samples: Iterable[Mapping[str, Any]]) -> Floats:
    found = [sample["scores"].get(variant, {}).get(name, math.nan) for sample in samples]
    numbers = np.array([math.nan if one is None else one for one in found], dtype=np.float64)
    return numbers if np.isfinite(numbers).any() else np.empty(0)
