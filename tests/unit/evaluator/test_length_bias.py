"""Length and right: of pairs and of generated answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.unit.evaluation import subjects
from tests.unit.evaluator.rules import Rule, context, metrics, row
from tuneforge.errors import ConfigError
from tuneforge.evaluation.behaviour.means import mean, spearman
from tuneforge.evaluation.unable import Unable
from tuneforge.evaluator.classification import Classification
from tuneforge.evaluator.exact_match import ExactMatch
from tuneforge.evaluator.length_bias import LengthBias
from tuneforge.rows import Answer, Row
from tuneforge.settings import Run
from tuneforge.strategy.dpo import Dpo


class Longer(Unable):
    """Gives every character the same gain, so that the longer answer is the likelier one per token."""

    def log_probs(self, rows: list[Row], column: str) -> Any:
        return np.array([[float(len(row.columns[column])), 1.0, 1.0] for row in rows])


def pair(chosen: str, rejected: str) -> Row:
    return row(prompt="q", chosen=chosen, rejected=rejected)


def test_a_model_that_prefers_length_is_found_out(tmp_path: Path) -> None:
    rows = [pair("yes it is", "no"), pair("yes", "not at all"), pair("sure thing", "no"), pair("yes", "noo")]
    held, evaluator = context(tmp_path), LengthBias()
    stats = list(evaluator.measure(Longer("base"), rows, held))
    for name in ("length_bias", "length_gap", "length_controlled"):
        assert [math.isnan(one[name]) for one in stats] == [False, False, False, True], "equal pairs count in none"
    assert all(math.isnan(one["length_correlation"]) for one in stats)
    found = metrics(evaluator, stats)
    assert (found["longer"], found["shorter"], found["length_gap"], found["length_bias"]) == (1, 0, 1, 1)
    assert found["length_controlled"] == 0.5, "three of four pairs are right, or equal, by length alone"
    assert math.isnan(found["length_correlation"])
    assert held.notes[0]["text"] == "length_bias: 1 of 4 pairs are of equal length, and count in neither"


SAID = {"a": "Paris", "b": "Rome, I think", "c": "Oslo", "d": "the capital of Spain is Madrid", "e": "x" * 600}


def test_answers_worked_out_by_hand(tmp_path: Path) -> None:
    right = {"a": "Paris", "b": "Rome", "c": "Oslo", "d": "Madrid", "e": "Bern"}
    rows = [row(prompt=name, completion=text) for name, text in right.items()]
    lm = Rule(lambda asked: Answer(SAID[asked], "", "length" if asked == "e" else "stop"))
    evaluator = LengthBias()
    found = metrics(evaluator, evaluator.measure(lm, rows, context(tmp_path)))
    lengths = [len(text) for text in SAID.values()]
    assert found["length_correlation"] == pytest.approx(spearmanr([1, 0, 1, 0, 0], lengths).statistic, abs=1e-9)
    assert found["length_bias"] == -found["length_correlation"] > 0.8
    assert found["length_ratio"] == sum(lengths) / (5 + 4 + 4 + 6 + 4)
    assert found["truncated"] == 0.2
    assert math.isnan(found["length_controlled"])


def test_an_answer_that_failed_was_not_cut_off(tmp_path: Path) -> None:
    rows = [row(prompt=name, completion="Paris") for name in "ab"]
    lm = Rule(lambda asked: Answer("", "does not fit", "length") if asked == "a" else Answer("Paris"))
    evaluator = LengthBias()
    assert metrics(evaluator, evaluator.measure(lm, rows, context(tmp_path)))["truncated"] == 0.0


def test_rows_with_both_are_what_the_strategy_trains(tmp_path: Path) -> None:
    both = row(prompt="a", completion="Paris", chosen="Paris", rejected="x")
    held: Any = context(tmp_path)
    assert next(iter(LengthBias().measure(Rule(SAID.__getitem__), [both], held)))["length"] == 5
    held.run.strategy = Dpo()
    assert next(iter(LengthBias().measure(Longer("base"), [both], held)))["longer"] == 1


def test_spearman_is_scipys_with_ties_and_gaps() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 4, 60).astype(float), rng.integers(0, 9, 60).astype(float)
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic, abs=1e-9)
    one[:5] = np.nan
    assert spearman(one, other) == pytest.approx(spearmanr(one[5:], other[5:]).statistic, abs=1e-9)
    assert math.isnan(spearman(np.ones(9), other[:9]))
    assert math.isnan(mean(np.full(3, np.nan)))


def test_a_scorer_that_cannot_score_answers_is_refused(tmp_path: Path) -> None:
    rows = [row(prompt="a", completion="b", text="t", label="x")]
    held = context(tmp_path, mine=Classification(), exact=ExactMatch(normalise=True))
    lm = Rule(lambda asked: "B")
    with pytest.raises(ConfigError, match=r"evaluator.length_bias.evaluator=classification: scores no answers"):
        list(LengthBias(evaluator="mine").measure(lm, rows, held))
    assert next(iter(LengthBias(evaluator="exact").measure(lm, rows, held)))["score"] == 1
    assert "no such evaluator" in next(iter(LengthBias(evaluator="nope").check(Run(strategy=subjects.Sft()))))
