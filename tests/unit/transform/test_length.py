"""Bounds on length."""

from __future__ import annotations

from typing import Any

import pytest

from tuneforge.rows import Rejected, Row
from tuneforge.transform.length import Length

SYSTEM = {"role": "system", "content": "be kind"}
USER = {"role": "user", "content": "one two"}
BOT = {"role": "assistant", "content": "three"}


@pytest.mark.parametrize(
    ("bounds", "columns", "reason"),
    [
        ({"min_characters": 3}, {"text": "ab"}, "too short: 2 characters, min_characters=3"),
        ({"min_characters": 3, "max_characters": 3}, {"text": "abc"}, ""),
        ({"max_characters": 2}, {"text": "abc"}, "too long: 3 characters, max_characters=2"),
        (
            {"max_characters": 11},
            {"prompt": "one two", "completion": "three"},
            "too long: 12 characters, max_characters=11",
        ),
        (
            {"max_prompt_words": 1},
            {"prompt": "one two", "completion": "x"},
            "too long: 2 prompt words, max_prompt_words=1",
        ),
        ({"min_prompt_words": 4}, {"messages": [SYSTEM, USER, BOT]}, ""),
        ({"min_prompt_words": 5}, {"messages": [SYSTEM, USER, BOT]}, "too short: 4 prompt words, min_prompt_words=5"),
        ({"min_answer_words": 2}, {"messages": [USER, BOT]}, "too short: 1 answer words, min_answer_words=2"),
        (
            {"max_answer_words": 1},
            {"prompt": "x", "chosen": "a", "rejected": "b c"},
            "too long: 2 answer words, max_answer_words=1",
        ),
        ({"min_answer_words": 9}, {"text": "abc"}, ""),
    ],
)
def test_bounds(bounds: dict[str, Any], columns: dict[str, Any], reason: str) -> None:
    row = Row(columns=columns)
    found = list(Length(**bounds).apply([row], None))  # type: ignore[arg-type]
    assert found == [Rejected(row, reason) if reason else row]


def test_check() -> None:
    assert not list(Length(min_characters=1, max_characters=1).check(None))  # type: ignore[arg-type]
    assert "no bound is set" in next(iter(Length().check(None)))  # type: ignore[arg-type]
    bad = Length(min_answer_words=5, max_answer_words=2)
    assert list(bad.check(None)) == ["min_answer_words=5 is above max_answer_words=2"]  # type: ignore[arg-type]
