"""Slices of a test set: which rows, how they compare, which stand out, and what the training rows hold of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.evaluation import subjects
from tuneforge.evaluation.measure import Cell, Measured, Place
from tuneforge.evaluation.significance import holm
from tuneforge.evaluation.slice_tests import less_than_the_rest
from tuneforge.evaluation.slices import Slice, of_deciding, partitions, per_row
from tuneforge.evaluator.exact_match import ExactMatch
from tuneforge.evaluator.length_bias import NONE, OF_ANSWERS, LengthBias
from tuneforge.evaluator.perplexity import Perplexity
from tuneforge.rows import Row

GARDEN, REFUND = "garden plant flower", "refund money card"
PLACE = Place("exact_match", "test", "job")
ALONE = [str(i) for i in range(300)]
"""Groups of rows that belong to nobody else's."""


def asked(topic: str, number: int, **fields: Any) -> Row:
    row = subjects.row(prompt=f"{topic} question number {number}", completion=f"answer {topic} {number}")
    return Row(columns=row.columns, id=row.id, file="job.jsonl", line=number, fields=fields)


def measured(rows: Sequence[Row], tuned: Sequence[float], base: Sequence[float]) -> Measured:
    groups = [row.id for row in rows]
    cells = {
        (PLACE, name): Cell({"exact_match": np.array(values, dtype=np.float64)}, groups)
        for name, values in (("tuned", tuned), ("base", base))
    }
    sets = {("test", "job"): subjects.held(list(rows))}
    return Measured({"exact_match": ExactMatch()}, sets, {PLACE: list(rows)}, cells)


def found(tmp_path: Path, rows: Sequence[Row], tuned: Any, base: Any, train: Sequence[Row] = (), by: Any = ()) -> Any:
    context = subjects.context(subjects.run(), tmp_path)
    context.train, context.run.slices.by = train, list(by)
    deciding = {"evaluator": "exact_match", "metric": "exact_match", "split": "test", "role": "target", "set": "job",
                "versus": "base"}  # fmt: skip
    return of_deciding([deciding], measured(rows, tuned, base), context)


def test_topics_that_fail_and_are_hardly_trained_are_named(tmp_path: Path) -> None:
    rows = [asked(REFUND, n) for n in range(40)] + [asked(GARDEN, n) for n in range(60)]
    tuned = [float(n % 10 == 0) for n in range(40)] + [float(n % 10 != 0) for n in range(60)]
    train = [asked(GARDEN, 100 + n) for n in range(95)] + [asked(REFUND, 100 + n) for n in range(5)]
    first, second = found(tmp_path, rows, tuned, [0.0] * 100, train, ["topic"])
    assert (first.by, first.n, first.tuned, first.weak, first.verdict) == ("topic", 40, 0.1, True, "coverage")
    assert "refund" in first.name
    assert first.train_share == pytest.approx(0.05)
    assert (first.value, first.base, first.worse) == (0.1, 0.0, False)
    assert first.low is not None
    assert first.low < 0.1 < first.high
    assert [e["kind"] for e in first.examples] == ["newly right"] * 3 + ["still wrong"] * 3
    assert first.examples[0]["text"] == rows[0].columns["prompt"]
    assert (second.weak, second.verdict) == (False, "")


def test_a_weak_slice_that_is_trained_in_proportion_needs_volume(tmp_path: Path) -> None:
    rows = [asked(REFUND, n) for n in range(40)] + [asked(GARDEN, n) for n in range(60)]
    train = [asked(GARDEN, 100 + n) for n in range(60)] + [asked(REFUND, 100 + n) for n in range(40)]
    first, _ = found(tmp_path, rows, [0.0] * 40 + [1.0] * 60, [0.0] * 100, train, ["topic"])
    assert first.verdict == "volume"


def test_kept_columns_tell_rows_apart_and_few_rows_are_no_slice(tmp_path: Path) -> None:
    rows = [asked("x", n, region="north" if n < 50 else "south" if n < 95 else "east") for n in range(100)]
    tuned, base = [1.0] * 50 + [0.0] * 50, [1.0] * 100
    by_region = [one for one in found(tmp_path, rows, tuned, base) if one.by == "region"]
    assert [(s.name, s.n, s.weak, s.worse) for s in by_region] == [
        ("south", 45, True, True),
        ("north", 50, False, False),
    ]
    assert by_region[0].train_share is None
    assert by_region[0].verdict == ""
    assert [e["kind"] for e in by_region[0].examples] == ["newly wrong"] * 3


def names(rows: Sequence[Row], by: str, tmp_path: Path) -> list[str]:
    context = subjects.context(subjects.run(), tmp_path)
    context.run.slices.by = [by]
    (made,) = partitions(rows, [], context)
    return list(made.names)


def test_labels_lengths_and_tasks(tmp_path: Path) -> None:
    rows = [subjects.row(text=" ".join(["w"] * n), label="long" if n > 20 else "short") for n in range(1, 31)]
    assert names(rows, "label", tmp_path) == ["short"] * 20 + ["long"] * 10
    assert names(rows, "length", tmp_path) == ["up to 10 words"] * 10 + ["11 to 20 words"] * 10 + ["over 20 words"] * 10
    tasks = [Row(columns=row.columns, task="qa" if i % 2 else "summary") for i, row in enumerate(rows)]
    assert names(tasks, "task", tmp_path)[:2] == ["summary", "qa"]


def test_answers_that_are_all_different_are_no_labels(tmp_path: Path) -> None:
    context = subjects.context(subjects.run(), tmp_path)
    assert "label" not in {p.by for p in partitions([asked("x", n) for n in range(50)], [], context)}


def test_a_metric_without_a_statistic_of_its_name_is_read_row_by_row() -> None:
    stats = {"nats": np.array([8.0, 2.0]), "tokens": np.array([4.0, 4.0]), "bytes": np.array([8.0, 8.0])}
    values = per_row(Perplexity(), Perplexity.metrics[0], stats)
    assert values == pytest.approx([-1 / np.log(2), -0.25 / np.log(2)])


def test_a_statistic_whose_mean_the_metric_is_not_orders_no_rows() -> None:
    """What `length_bias` keeps under its metrics' names is how right a row is: right rows are not its worst ones."""
    evaluator, score = LengthBias(), np.array([1.0, 1.0, 1.0, 0.0])
    of_answers = dict.fromkeys(("score", *OF_ANSWERS), score) | {"length": np.array([1.0, 2, 3, 4])}
    stats = {name: np.full(4, np.nan) for name in NONE} | of_answers | {"reference": np.ones(4)}
    read = {metric.name: per_row(evaluator, metric, stats) for metric in evaluator.metrics}
    assert np.isnan(read["length_bias"]).all()
    assert read["length_ratio"] == pytest.approx([-1, -2, -3, -4])
    assert less_than_the_rest(read["length_bias"], [0, 1], ALONE[:4]) == 1.0


def test_nothing_stands_out_where_nothing_differs() -> None:
    """Under chance alone, at most one set of ten slices in twenty names any of them."""
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(200):
        now = (rng.random(300) < 0.7).astype(float)
        slices = np.array_split(np.arange(300), 10)
        named += min(holm([less_than_the_rest(now, list(own), ALONE) for own in slices])) < 0.05
    assert named <= 20


def test_rows_of_one_group_count_once() -> None:
    """Thirty rows of one document that fail together are one failure, not thirty."""
    now = np.array([0.0] * 30 + [1.0] * 60)
    assert less_than_the_rest(now, range(30), ALONE[:90]) < 1e-6
    assert less_than_the_rest(now, range(30), ["one"] * 30 + ALONE[:60]) == pytest.approx(1 / 61)


def test_numbers_that_are_no_shares_are_compared_by_rank() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    values[:40] -= 2
    assert less_than_the_rest(values, range(40), ALONE[:200]) < 1e-6
    assert less_than_the_rest(values, range(40, 80), ALONE[:200]) > 0.5
    assert less_than_the_rest(np.array([np.nan, 1.0]), [0], ALONE[:2]) == 1.0


def test_rows_without_a_number_are_no_examples(tmp_path: Path) -> None:
    rows = [asked(GARDEN if i < 20 else REFUND, i, part="a" if i < 20 else "b") for i in range(40)]
    nothing, some = [np.nan] * 40, [np.nan, 0.0, 1.0, *[1.0] * 37]
    assert all(one.examples == [] for one in found(tmp_path, rows, nothing, nothing, by=["part"]))
    first = next(one for one in found(tmp_path, rows, some, some, by=["part"]) if one.name == "a")
    assert [(one["kind"], one["place"]) for one in first.examples] == [("still wrong", "job.jsonl:1")]


def test_slices_are_json_rows() -> None:
    assert {"set", "evaluator", "metric", "by", "name", "n", "model", "versus", "value", "low", "high", "base", "tuned",
            "weak", "verdict", "examples"} <= set(Slice.__dataclass_fields__)  # fmt: skip
