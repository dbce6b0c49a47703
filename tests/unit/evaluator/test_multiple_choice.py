"""Choices by likelihood: against sums computed with transformers, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.evaluation import subjects
from tests.unit.evaluator.answers import Notes, asked
from tuneforge.errors import ConfigError
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluator.multiple_choice import MultipleChoice
from tuneforge.rows import Row
from tuneforge.training.text.render import prompt_ids

BBH = r"^(\([A-Z]\)) "
RUN: Any = None
SAID: Any = Notes()


class Likelihoods:
    """An LM with given log-probabilities: (nats, tokens, bytes) in the order of the choices."""

    variant = "base"

    def __init__(self, *scores: tuple[float, float, float]) -> None:
        self.scores = scores
        self.asked: list[Row] = []

    def log_probs(self, rows: list[Row], column: str) -> Any:
        self.asked = rows
        return np.array(self.scores, dtype=np.float64)


def chosen(lm: Any, *rows: Row, **options: Any) -> list[Any]:
    return list(MultipleChoice(**options).measure(lm, rows, SAID))


def test_scores_are_transformers_sums() -> None:
    lm = HFLM("base", subjects.llama().double(), subjects.tokenizer())
    rows = [
        asked("B", choices=["red", "a blue cat", "日本"]),
        asked("yes", choices=["yes", "no"], prompt=[{"role": "user", "content": "Grüße?"}]),
    ]
    found = chosen(lm, *rows)
    for row, right, mine in zip(rows, (1, 0), found, strict=True):
        sums = []
        for choice in row.columns["choices"]:
            prompt = prompt_ids(row.columns, lm.tokenizer)
            answer = lm.tokenizer(choice, add_special_tokens=False)["input_ids"]
            ids = torch.tensor([prompt + answer])
            labels = ids.clone()
            labels[:, : len(prompt)] = -100
            with torch.no_grad():
                sums.append(-float(lm.model(input_ids=ids, labels=labels).loss) * len(answer))
        per_byte = [total / len(choice.encode()) for total, choice in zip(sums, row.columns["choices"], strict=True)]
        whole = sum(map(math.exp, sums))
        assert mine["accuracy"] == (np.argmax(sums) == right)
        assert mine["accuracy_normalised"] == (np.argmax(per_byte) == right)
        assert mine["probability"] == pytest.approx(math.exp(sums[right]) / whole, rel=1e-4)
        assert mine["confidence"] == pytest.approx(max(map(math.exp, sums)) / whole, rel=1e-4)
        others = [total for place, total in enumerate(sums) if place != right]
        assert mine["margin"] == pytest.approx(sums[right] - max(others), rel=1e-4)


def test_ties_go_to_the_first_and_bytes_help_long_choices() -> None:
    tie = chosen(Likelihoods((-2, 1, 1), (-2, 1, 1)), asked("a", choices=["a", "b"]))[0]
    assert (tie["accuracy"], tie["probability"], tie["margin"]) == (1, 0.5, 0)
    assert chosen(Likelihoods((-2, 1, 1), (-2, 1, 1)), asked("b", choices=["a", "b"]))[0]["accuracy"] == 0
    long = chosen(Likelihoods((-2, 1, 1), (-3, 1, 9)), asked("the longer", choices=["a", "the longer"]))[0]
    assert (long["accuracy"], long["accuracy_normalised"]) == (0, 1)


def test_choices_that_cannot_be_scored_are_never_right() -> None:
    """An unrendered one has no tokens and 0 nats, which would be the likeliest of all."""
    odd = Likelihoods((0, 0, 0), (-3, 1, 1), (math.nan, 1, 1))
    rows = asked("b", choices=["a", "b", "c"])
    assert chosen(odd, rows)[0]["accuracy"] == 1
    for right in ("a", "c"):
        found = chosen(odd, asked(right, choices=["a", "b", "c"]))[0]
        assert (found["accuracy"], found["accuracy_normalised"], found["probability"]) == (0, 0, 0)


def test_each_choice_is_a_row_of_its_own() -> None:
    lm = Likelihoods((-1, 1, 1), (-2, 1, 1))
    chosen(lm, asked("(A)", prompt="q\n(A) one\n(B) two", tools=[{"name": "f"}]), pattern=BBH)
    assert [row.columns["completion"] for row in lm.asked] == ["(A)", "(B)"]
    assert len({row.id for row in lm.asked}) == 2
    assert all("references" not in row.columns and row.columns["tools"] for row in lm.asked)


@pytest.mark.parametrize(
    ("row", "options", "reason"),
    [
        (asked("z", choices=["a", "b"]), {}, "the answer 'z' is none of a, b"),
        (asked("F", choices=list("vwxyz")), {}, "the answer 'F' is none of v, w, x, y, z"),
        (asked("a", choices=["a"]), {}, "it has 1 of at least 2 choices"),
        (asked("a", choices=["a", " "]), {}, "choice 1 is empty"),
        (asked("(A)", prompt="nothing to choose from"), {"pattern": BBH}, "it has 0 of at least 2 choices"),
        (asked("5", choices=["5", "5", "6"], line=9), {}, "the answer '5' is none of 5, 5, 6"),
    ],
)
def test_rows_whose_right_choice_cannot_be_told_are_refused(row: Row, options: Any, reason: str) -> None:
    good = asked("a", choices=["a", "b"], prompt="(A) x\n(B) y") if not options else asked("(A)", prompt="(A) x\n(B) y")
    with pytest.raises(ConfigError) as refused:
        chosen(Likelihoods(), good, row, **options)
    assert str(refused.value) == (
        f"evaluator.multiple_choice: of 1 of 2 rows the right choice cannot be told, as {row.place}: {reason}"
    )


def test_patterns_are_checked_and_bounded() -> None:
    assert "no regular expression" in next(iter(MultipleChoice(pattern="(").check(RUN)))
    assert list(MultipleChoice(pattern=BBH).check(RUN)) == list(MultipleChoice().check(RUN)) == []
    with pytest.raises(ConfigError, match=r"searched job\.jsonl:1 for 0\.5 s in vain"):
        chosen(Likelihoods(), asked("a", prompt="a" * 5000), pattern=r"(a|aa)+b\1c")
    assert MultipleChoice().serves({"prompt": "q", "completion": "a", "choices": ["a"]})
    assert not MultipleChoice().serves({"prompt": "q", "completion": "a"})
    assert MultipleChoice(pattern=BBH).serves({"prompt": "q", "completion": "a"})


@pytest.mark.shared
@pytest.mark.parametrize("task", ["date_understanding", "geometric_shapes", "tracking_shuffled_objects_three_objects"])
def test_the_choices_of_bbh_are_found_in_its_prompts(shared: Path, task: str) -> None:
    examples = json.loads((shared / f"data/bbh/{task}.json").read_text(encoding="utf-8"))["examples"]
    rows = [asked(one["target"], prompt=one["input"]) for one in examples]
    lm = Likelihoods(*[(-1.0, 1.0, 1.0)] * sum(one["input"].count("\n(") for one in examples))
    found = chosen(lm, *rows, pattern=BBH)
    assert len(found) == 250
    assert np.mean([one["accuracy"] for one in found]) == np.mean([one["target"] == "(A)" for one in examples])


@pytest.mark.shared
def test_the_choices_of_aqua_rat_are_told_by_their_letters(shared: Path) -> None:
    lines = (shared / "data/aqua_rat/dev.json").read_text(encoding="utf-8").splitlines()
    examples = [json.loads(line) for line in lines]
    rows = [asked(one["correct"], prompt=one["question"], choices=one["options"]) for one in examples]
    found = chosen(Likelihoods(*[(-1.0, 1.0, 1.0)] * sum(len(one["options"]) for one in examples)), *rows)
    assert len(found) == 254
    assert sum(one["accuracy"] for one in found) == sum(one["correct"] == "A" for one in examples)
