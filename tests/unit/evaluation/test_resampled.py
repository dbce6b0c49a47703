"""All metrics of an evaluator from the same rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tuneforge.evaluation.measure import Cell, Place
from tuneforge.evaluation.resampled import Resampled
from tuneforge.evaluation.statistics import jackknife
from tuneforge.evaluation.tidy import Table, intervals
from tuneforge.evaluator.classification import Classification
from tuneforge.evaluator.consistency import Consistency
from tuneforge.evaluator.judge import Judge
from tuneforge.evaluator.ood import Ood
from tuneforge.evaluator.robustness import Robustness


def cell(right: int, n: int = 40) -> Cell:
    true = np.arange(float(n)) % 2
    predicted = np.where(np.arange(n) < right, true, 1 - true)
    stats = {"predicted": predicted, "true": true, "accuracy": (predicted == true).astype(float)}
    return Cell(stats, [str(i) for i in range(n)])


def test_each_metric_is_as_if_it_were_alone() -> None:
    cells = {"base": cell(20), "tuned": cell(33)}
    found = Resampled(cells, Classification(), 3)
    for name in ("macro_f1", "micro_f1"):
        alone = jackknife(
            cells["tuned"].stats,
            lambda s, name=name: float(Classification().aggregate(s)[name]),
            cells["tuned"].groups,
            3,
        )
        assert found.alone("tuned")[name] == alone
    difference = found.differences("tuned", "base")["macro_f1"]
    assert 0 < difference.low < difference.value < difference.high
    assert found.p_values("tuned", "base")["macro_f1"] < 0.05


def test_rows_that_all_agree_give_no_interval_of_f1() -> None:
    found = Resampled({"base": cell(40), "tuned": cell(40)}, Classification(), 0)
    assert found.alone("base")["macro_f1"].value == 1
    assert math.isnan(found.alone("base")["macro_f1"].low)
    assert found.differences("tuned", "base")["macro_f1"] == (0, 0, 0)
    assert found.p_values("tuned", "base")["macro_f1"] == 1


def test_intervals_end_where_their_metric_does() -> None:
    evaluator = Classification()
    macro_f1 = next(metric for metric in evaluator.metrics if metric.name == "macro_f1")
    cells = {"tuned": cell(19, 20), "base": cell(1, 20)}
    table = Table(Place("classification", "test", "set"), "target", "protocol", cells)
    uncut = Resampled(cells, evaluator, 0)
    assert uncut.alone("tuned")["macro_f1"].high > 1 < uncut.differences("tuned", "base")["macro_f1"].high
    found = {
        (model, versus): i for model, versus, i, _ in intervals(table, evaluator, macro_f1, 0, [("tuned", "base")])
    }
    assert found["tuned", ""].high == 1
    assert found["base", ""].low == 0
    assert found["tuned", "base"].high == 1
    assert 0.5 < found["tuned", "base"].low < 0.9


def test_a_metric_about_few_rows_knows_that_they_are_few() -> None:
    told = np.array([0.0, 0.2, 0.9, 0.4])
    padded = np.concatenate([told, np.full(100, math.nan)])
    stats = dict.fromkeys(("consistency", "right_in_all", "right"), padded)
    cells = {name: Cell(one, [str(i) for i in range(104)]) for name, one in {"tuned": stats, "base": stats}.items()}
    alone = jackknife({"x": told}, lambda s: float(s["x"].mean()), list("abcd"))
    assert np.allclose(Resampled(cells, Consistency(), 0).alone("tuned")["right"], alone)


@pytest.mark.parametrize("evaluator", [Consistency(), Judge(), Ood(), Robustness()])
def test_a_share_of_what_is_asked_about_a_row_stays_between_0_and_1(evaluator: Any) -> None:
    for metric in evaluator.metrics:
        least = -1.0 if "drop" in metric.name or metric.name == "gap" else 0.0
        assert metric.bounds == (least, 1.0), metric.name
    if not isinstance(evaluator, Judge):
        named = {"evaluator": "rubric"} | ({"agree": "rubric"} if isinstance(evaluator, Consistency) else {})
        assert {m.bounds for m in replace(evaluator, **named).metrics} == {(-math.inf, math.inf)}, "its own scale"


def test_two_rows_that_agree_in_part_say_little_but_nothing_impossible() -> None:
    stats = {"consistency": np.array([1 / 3, 1.0]), "right": np.ones(2), "right_in_all": np.array([0.0, 1.0])}
    evaluator = Consistency()
    table = Table(Place("consistency", "test", "set"), "target", "", {"tuned": Cell(stats, ["a", "b"])})
    [(_, _, found, _)] = intervals(table, evaluator, evaluator.metrics[0], 0, [])
    assert found == pytest.approx((2 / 3, 0, 1))
