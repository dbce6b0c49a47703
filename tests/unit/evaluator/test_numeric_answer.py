"""The number that an answer comes to, and whether it is right."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.unit.evaluator.answers import Notes, asked
from tuneforge.errors import ConfigError
from tuneforge.evaluation.numbers import final_number
from tuneforge.evaluator.numeric_answer import NumericAnswer
from tuneforge.rows import Answer

RUN: Any = None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5 + 3 = 8.", 8),
        ("#### 1,234", 1234),
        ("first #### 3\nthen #### $2,000.50 each, not 7", 2000.5),
        (r"so \boxed{\frac{3}{4}} and 9 more", 0.75),
        (r"\boxed{1{,}000}", 1000),
        (r"\boxed{x = -\dfrac{1}{2}}", -0.5),
        ("The answer is 42 apples, because 40 + 2 = 42 and 7", 42),
        ("Answer: 7 (see 3)", 7),
        ("the answer is clear", None),
        ("The answer is clear: none. It was 12", 12),
        ("####", None),
        ("12 then ####", 12),
        ("-5", -5),
        ("\u22125", -5),
        ("x-5", 5),
        ("3-5", 5),
        ("$-5", -5),
        ("-$5.5", -5.5),
        ("- 5 apples", 5),
        ("it is 1/2.", 0.5),
        ("12/5", 2.4),
        ("50%", 50),
        (r"50\%", 50),
        ("1.5e3", 1500),
        ("2E-2 m", 0.02),
        ("3 \u00d7 10^5", 300000),
        (r"3.5 \times 10^{-2}", 0.035),
        ("1 1/2", 1.5),
        ("3/4", 0.75),
        ("5/0", None),
        (".5", 0.5),
        ("5.", 5),
        ("1,2,3", 3),
        ("3,5", 5),
        ("12,345,678", 12345678),
        ("on 12/25/1937", 1937),
        ("v1.2", 1.2),
        ("٤٢", 42),
        ("\u200f٤٢\u200e", 42),
        ("答えは42です", 42),
        ("👍 7 👍", 7),
        ("1e9999", None),
        ("9" * 400, None),
        ("", None),
        (" \n", None),
        ("twenty", None),
        ("2 \u00d7 4 = 8", 8),
        ("1e5x", 5),
    ],
)
def test_final_number(text: str, number: float | None) -> None:
    assert final_number(text) == (None if number is None else pytest.approx(number, rel=1e-12))


def test_numbers_come_back_as_they_were_written() -> None:
    draw = random.Random(3)
    for _ in range(500):
        value = draw.choice([draw.randint(-(10**9), 10**9), round(draw.uniform(-1e6, 1e6), draw.randint(1, 6))])
        written = draw.choice([f"{value:,}", str(value), f"{value:.12e}"])
        around = draw.choice(["{}", "so #### {}", r"\boxed{{{}}}", "The answer is {}. Done", "1 + 1 gives {} km"])
        assert final_number(around.format(written)) == pytest.approx(value, rel=1e-9), around.format(written)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,", 1.0), ("99", None), ("1/", 1.0), ("- ", None), ("1 ", 1.0), ("##", None)],
)
def test_long_answers_are_read_in_passing(text: str, number: float | None) -> None:
    assert final_number(text * 50_000) == number


def test_scores_and_errors() -> None:
    evaluator = NumericAnswer()
    assert evaluator.score(asked("#### 72"), Answer("So 72.0")) == {"numeric_answer": 1, "answered": 1}
    assert evaluator.score(asked("#### 72"), Answer("73")) == {"numeric_answer": 0, "answered": 1}
    assert evaluator.score(asked("#### 72"), Answer("72", "no room")) == {"numeric_answer": 0, "answered": 0}
    assert evaluator.score(asked("12", "a dozen"), Answer("a dozen")) == {"numeric_answer": 0, "answered": 0}
    assert evaluator.score(asked("0"), Answer("0.0"))["numeric_answer"] == 1
    assert evaluator.score(asked("3"), Answer("3.01"))["numeric_answer"] == 0
    assert NumericAnswer(tolerance=0.01).score(asked("3"), Answer("3.01"))["numeric_answer"] == 1
    assert list(evaluator.check(RUN)) == []
    assert list(NumericAnswer(tolerance=1.5).check(RUN))


def test_references_without_a_number_name_their_row() -> None:
    context: Any = Notes()
    rows = [asked("12"), asked("twelve", line=7), asked(" ", line=8)]
    with pytest.raises(ConfigError, match=r"2 of 3 references hold no number, as that of job.jsonl:7: 'twelve'"):
        list(NumericAnswer().judge(rows, [Answer("12")] * 3, context))


@pytest.mark.shared
def test_every_reference_of_gsm8k_is_read(shared: Path) -> None:
    with gzip.open(shared / "data/gsm8k/train.jsonl.gz", "rt", encoding="utf-8") as lines:
        answers = [json.loads(line)["answer"] for line in lines]
    assert len(answers) == 7473
    for answer in answers:
        assert final_number(answer) == float(answer.split("#### ")[1].replace(",", ""))
