"""All metrics of an evaluator from the same draws."""

from __future__ import annotations

import math

import numpy as np

from tuneforge.evaluation.measure import Cell
from tuneforge.evaluation.resampled import Resampled
from tuneforge.evaluation.statistics import bootstrap
from tuneforge.evaluator.classification import Classification


def cell(right: int, n: int = 40) -> Cell:
    true = np.arange(float(n)) % 2
    predicted = np.where(np.arange(n) < right, true, 1 - true)
    stats = {"predicted": predicted, "true": true, "accuracy": (predicted == true).astype(float)}
    return Cell(stats, [str(i) for i in range(n)])


def test_each_metric_is_as_if_it_were_drawn_alone() -> None:
    cells = {"base": cell(20), "tuned": cell(33)}
    found = Resampled(cells, Classification(), 3)
    for name in ("macro_f1", "micro_f1"):
        alone = bootstrap(
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
