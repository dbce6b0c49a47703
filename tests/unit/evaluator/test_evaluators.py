"""What each evaluator counts."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tuneforge.evaluator.exact_match import ExactMatch
from tuneforge.evaluator.perplexity import Perplexity
from tuneforge.evaluator.preference_accuracy import PreferenceAccuracy
from tuneforge.rows import Answer, Row
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.sft import Sft


def row(**columns: Any) -> Row:
    return Row(columns=columns)


class Numbers:
    """An LM whose log-probabilities are written in the rows."""

    variant = "base"

    def __init__(self, **columns: list[tuple[float, float, float]]) -> None:
        self.columns = columns
        self.limits: list[int] = []

    def log_probs(self, rows: list[Row], column: str) -> Any:
        return np.array(self.columns[column][: len(rows)], dtype=float)

    def generate(self, rows: list[Row], max_tokens: int) -> list[Answer]:
        self.limits.append(max_tokens)
        return [Answer("a") for _ in rows]


@pytest.mark.parametrize(
    ("answer", "reference", "normalise", "expected"),
    [
        (" Yes\n", "Yes", False, 1),
        ("yes", "Yes", False, 0),
        ("yes  it\nis", "Yes it is", True, 1),
        ("", "Yes", True, 0),
        ("a  b", "a b", False, 0),
    ],
)
def test_exact_match(answer: str, reference: str, normalise: bool, expected: float) -> None:
    found = ExactMatch(normalise=normalise).score(row(prompt="q", completion=reference), Answer(answer))
    assert found == {"exact_match": expected}


def test_exact_match_of_a_conversation_and_of_an_error() -> None:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert ExactMatch().score(row(messages=messages), Answer("a"))["exact_match"] == 1
    assert ExactMatch().score(row(prompt="q", completion=""), Answer("", "no room"))["exact_match"] == 0


def test_exact_match_generates_no_more_than_could_be_right() -> None:
    lm = Numbers()
    rows = [row(prompt="q", completion="日本"), row(prompt="q", completion="b")]
    assert [s["exact_match"] for s in ExactMatch().measure(lm, rows, None)] == [0, 0]  # type: ignore[arg-type]
    assert lm.limits == [6 + 8]
    list(ExactMatch().measure(lm, [row(prompt="q", completion="b" * 999)], None))  # type: ignore[arg-type]
    assert lm.limits[-1] == 256


def context(strategy: Any) -> Any:
    return SimpleNamespace(run=SimpleNamespace(strategy=strategy))


def test_perplexity_is_of_sums_and_of_what_the_strategy_trains() -> None:
    lm = Numbers(completion=[(-2.0, 2, 4), (-6.0, 2, 4)], text=[(-1.0, 1, 1)], chosen=[(-3.0, 1, 2)])
    evaluator = Perplexity()
    both = row(prompt="p", completion="c", text="t")
    found = list(evaluator.measure(lm, [both, row(prompt="p", completion="d")], context(Sft())))
    stats = {k: np.array([s[k] for s in found]) for k in found[0]}
    assert evaluator.aggregate(stats) == pytest.approx({"bits_per_byte": 1 / math.log(2), "perplexity": math.exp(2)})
    assert next(iter(evaluator.measure(lm, [both], context(Clm()))))["nats"] == 1
    pair = row(prompt="p", chosen="c", rejected="r")
    assert evaluator.serves(pair.columns)
    assert next(iter(evaluator.measure(lm, [pair], context(Sft()))))["nats"] == 3
    assert not evaluator.serves({"label": 1})


def test_nothing_to_predict_is_no_number() -> None:
    zero = {k: np.zeros(1) for k in ("nats", "tokens", "bytes")}
    assert all(math.isnan(v) for v in Perplexity().aggregate(zero).values())


def test_an_empty_answer_is_no_likelier_one_and_a_pair_that_failed_is_wrong() -> None:
    lm = Numbers(chosen=[(0, 0, 0), (-4, 2, 9), (0, 0, 0)], rejected=[(-2, 1, 9), (0, 0, 0), (0, 0, 0)])
    held, notes = context(Sft()), []
    held.note = lambda text, **numbers: notes.append(text)
    found = list(PreferenceAccuracy().measure(lm, [row(prompt="p", chosen="a", rejected="b")] * 3, held))
    assert [s["preference_accuracy"] for s in found] == [0.5, 0.5, 0]
    assert [s["margin"] for s in found] == [0, 0, 0]
    assert notes == ["preference_accuracy of base: an answer is empty in 2 of 3 pairs, which count as ties"]


def test_preferences_are_per_token_and_ties_count_half() -> None:
    lm = Numbers(chosen=[(-4.0, 4, 9), (-2.0, 1, 9), (-1.0, 1, 9)], rejected=[(-2.0, 1, 9), (-2.0, 2, 9), (-1.0, 1, 9)])
    rows = [row(prompt="p", chosen="a", rejected="b")] * 3
    found = list(PreferenceAccuracy().measure(lm, rows, context(Sft())))
    assert [s["preference_accuracy"] for s in found] == [1, 0, 0.5]
    assert [s["margin"] for s in found] == [1, -1, 0]
