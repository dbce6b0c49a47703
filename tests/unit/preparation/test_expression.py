"""Conditions on rows: what they mean, and that they can do nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tuneforge.preparation import expression
from tuneforge.preparation.expression import Invalid, TooSlow, compiled
from tuneforge.rows import Row

PAIR = Row(columns={"prompt": "Add two and two", "completion": "four"}, source="data.sums", task="math", group="a")
CHAT = Row(
    columns={
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Bye"},
            {"role": "assistant", "content": "As an AI, I stay."},
        ]
    }
)
CLASS = Row(columns={"text": "Where is my card?", "label": "card_arrival"}, file="bank.csv")
SEVERAL = Row(columns={"text": "x", "label": ["toxic", "rude"]})


@pytest.mark.parametrize(
    ("text", "row", "holds"),
    [
        ("words(prompt) == 4 and characters(answer) == 4", PAIR, True),
        ("words(answer) / words(prompt) < 0.5", PAIR, True),
        ("words(prompt) / words(text) > 1000", PAIR, True),
        ("task in ['math', 'code'] and source == 'data.sums' and group == 'a'", PAIR, True),
        ("not task == 'math'", PAIR, False),
        ("1 < words(prompt) <= 4", PAIR, True),
        ("words(prompt) > -1 and (False or True)", PAIR, True),
        ("'two' in prompt", PAIR, True),
        ("'Two' not in prompt", PAIR, True),
        ("regex('^(four|five)$', answer)", PAIR, True),
        ("turns == 2 and regex('(?i)as an ai', answer) and 'Be kind' in prompt", CHAT, True),
        ("lower(answer) == answer", CHAT, False),
        ("label == 'card_arrival' and file == 'bank.csv' and prompt == ''", CLASS, True),
        ("label in ('a', 'card_arrival')", CLASS, True),
        ("'rude' in label", SEVERAL, True),
        ("regex('^\\\\p{Lu}', text)", CLASS, True),
        ("turns in [1, 2]", CHAT, True),
    ],
)
def test_what_holds(text: str, row: Row, holds: bool) -> None:
    assert compiled(text)(row) is holds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("words(prompt", "is no expression: '(' was never closed at character 6"),
        ("", "is no expression"),
        ("word(prompt) > 3", "no function 'word' (words, characters, lower, regex). Did you mean 'words'?"),
        ("promt == 'x'", "no name 'promt'"),
        ("promt == 'x'", "Did you mean 'prompt'?"),
        ("prompt > 5", "cannot compare 'prompt' with '5': a text with a number"),
        ("prompt < answer", "cannot compare"),
        ("words(prompt)", "'words(prompt)' is a number, where a condition belongs"),
        ("words(5) > 1", "'5' is a number, where a text belongs"),
        ("words(prompt, answer) > 1", "words() takes 1 value, not 2"),
        ("prompt and True", "'prompt' is a text, where a condition belongs"),
        ("regex('(', prompt)", "regex('('): missing )"),
        ("regex(prompt, answer)", "the pattern of regex() stands first, in quotes"),
        ("__import__('os').system('true')", "has no place here"),
        ("prompt.__class__ == 1", "has no place here"),
        ("(lambda: True)()", "has no place here"),
        ("[p for p in prompt] == 1", "has no place here"),
        ("'a' * 1000000000 == prompt", "is a text, where a number belongs"),
        ("9 ** 9 ** 9 > 1", "has no place here"),
        ("prompt[0] == 'a'", "has no place here"),
        ("f'{prompt}' == 'a'", "has no place here"),
        ("words(text=prompt) > 1", "has no place here"),
        ("prompt is None", "has no place here"),
        ("label in [prompt]", "only texts in quotes and numbers"),
        ("(x := 5) > 1", "has no place here"),
        ("True or " * 500 + "True", "has 4,004 characters, the limit is 2,000"),
        ("(" * 900 + "True" + ")" * 900, "is no expression"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        compiled(text)
    assert reason in str(refused.value)


def test_a_pattern_that_explodes_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "SECONDS", 0.05)
    holds = compiled("regex('^(a|aa|a?)+$', text)")
    row = Row(columns={"text": "a" * 60 + "b"})
    with pytest.raises(TooSlow, match="took more than"):
        holds(row)


def test_every_name_is_empty_where_a_row_has_no_such_thing() -> None:
    empty: dict[str, Any] = {"tokens": ["a", "b"], "tags": ["O", "O"]}
    row = Row(columns=empty)
    assert compiled("prompt == '' and answer == '' and label == '' and task == '' and text == 'a b'")(row) is True
