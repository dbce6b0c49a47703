"""Layouts: detected, mapped or configured, and what a row may not hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tuneforge.components import Columns, DataSource, Format
from tuneforge.errors import ConfigError
from tuneforge.preparation.formats import layout
from tuneforge.preparation.messages import Unusable, kind_of

USER = {"role": "user", "content": "Hi"}
BOT = {"role": "assistant", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be kind"}
TRANSCRIPT = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant: "


def convert(row: dict[str, Any], **source: Any) -> dict[str, Any]:
    return layout("data.x", DataSource(**source), [row]).convert(row)


def said(*rows: dict[str, Any], **source: Any) -> str:
    return layout("data.x", DataSource(**source), rows).said


@pytest.mark.parametrize(
    ("row", "detected", "columns"),
    [
        ({"text": "x"}, "text", {"text": "x"}),
        ({"text": "x", "label": 3}, "text", {"text": "x", "label": 3}),
        ({"messages": [USER, BOT]}, "messages", {"messages": [USER, BOT]}),
        (
            {"messages": [USER, {"role": "assistant", "content": "Hello", "loss_weight": 0}]},
            "messages",
            {"messages": [USER, BOT | {"weight": 0.0}]},
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "value": "i"}]},
                    BOT,
                ]
            },
            "messages",
            {"messages": [USER, BOT]},
        ),
        (
            {
                "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}],
                "system": "Be kind",
            },
            "sharegpt",
            {"messages": [SYSTEM, USER, BOT]},
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "Hi"},
                    {"from": "function_call", "value": "{}"},
                    {"from": "observation", "value": ""},
                    {"from": "gpt", "value": "Hello"},
                ],
                "tools": json.dumps([{"name": "f"}]),
            },
            "sharegpt",
            {
                "messages": [
                    USER,
                    {"role": "assistant", "content": "{}"},
                    {"role": "tool", "content": ""},
                    BOT,
                ],
                "tools": [{"name": "f"}],
            },
        ),
        (
            {
                "conversations": [{"from": "human", "value": "Hi"}],
                "chosen": {"from": "gpt", "value": "a"},
                "rejected": {"from": "gpt", "value": "b"},
            },
            "sharegpt preference",
            {
                "prompt": [USER],
                "chosen": [{"role": "assistant", "content": "a"}],
                "rejected": [{"role": "assistant", "content": "b"}],
            },
        ),
        ({"instruction": "Add", "input": "1 2", "output": "3"}, "alpaca", {"prompt": "Add\n\n1 2", "completion": "3"}),
        ({"instruction": "Add", "input": "", "output": "3"}, "alpaca", {"prompt": "Add", "completion": "3"}),
        ({"instruction": "", "input": "1 2", "output": "3"}, "alpaca", {"prompt": "1 2", "completion": "3"}),
        (
            {"instruction": "And?", "output": "3", "system": "Be kind", "history": [["Hi", "Hello"]]},
            "alpaca",
            {
                "prompt": [SYSTEM, USER, BOT, {"role": "user", "content": "And?"}],
                "completion": [{"role": "assistant", "content": "3"}],
            },
        ),
        ({"prompt": "Q", "completion": " A"}, "prompt_completion", {"prompt": "Q", "completion": " A"}),
        ({"prompt": "Q", "response": "A"}, "prompt_completion", {"prompt": "Q", "completion": "A"}),
        ({"prompt": [USER], "completion": [BOT]}, "prompt_completion", {"prompt": [USER], "completion": [BOT]}),
        ({"prompt": "Q", "label": "safe"}, "prompt (no answer)", {"prompt": "Q", "label": "safe"}),
        ({"text": "x", "label": ["b", 1]}, "text", {"text": "x", "label": ["b", "1"]}),
        ({"text": "x", "label": []}, "text", {"text": "x", "label": []}),
        (
            {"prompt": "Q", "completion": "A", "label": "False"},
            "prompt_completion",
            {"prompt": "Q", "completion": "A", "label": False},
        ),
        ({"tokens": ["a", "b"], "tags": ["O", "B-x"]}, "tags", {"tokens": ["a", "b"], "tags": ["O", "B-x"]}),
        ({"words": ["a"], "ner_tags": [3], "id": 1}, "tags", {"tokens": ["a"], "tags": ["3"]}),
        ({"anchor": "a", "positive": "b"}, "pair", {"anchor": "a", "positive": "b"}),
        (
            {"query": "a", "positive": "b", "negative": "c"},
            "pair",
            {"anchor": "a", "positive": "b", "negative": "c"},
        ),
        ({"question": "a", "answer": "b"}, "pair", {"anchor": "a", "positive": "b"}),
        ({"text": "t", "tokens": ["a"], "tags": ["O"]}, "text", {"text": "t"}),
        ({"text": "t", "question": "a", "answer": "b"}, "text", {"text": "t"}),
        (
            {"prompt": "Q", "chosen": "a", "rejected": "b"},
            "preference",
            {"prompt": "Q", "chosen": "a", "rejected": "b"},
        ),
        (
            {"prompt": "Q", "completion": "c", "chosen": "a", "rejected": "b"},
            "preference",
            {"prompt": "Q", "completion": "c", "chosen": "a", "rejected": "b"},
        ),
        (
            {"prompt": "Hi", "chosen": [USER, BOT], "rejected": [USER, BOT | {"content": "No"}]},
            "preference",
            {"prompt": [USER], "chosen": [BOT], "rejected": [BOT | {"content": "No"}]},
        ),
        (
            {"chosen": [SYSTEM, USER, BOT], "rejected": [SYSTEM, USER, BOT | {"content": "No"}]},
            "preference",
            {"prompt": [SYSTEM, USER], "chosen": [BOT], "rejected": [BOT | {"content": "No"}]},
        ),
        (
            {"chosen": TRANSCRIPT + "a", "rejected": TRANSCRIPT + "b"},
            "hh_rlhf",
            {
                "prompt": [USER, BOT, {"role": "user", "content": "Why?"}],
                "chosen": [{"role": "assistant", "content": "a"}],
                "rejected": [{"role": "assistant", "content": "b"}],
            },
        ),
    ],
)
def test_known_layouts(row: dict[str, Any], detected: str, columns: dict[str, Any]) -> None:
    assert said(row) == f"{detected} columns detected"
    assert convert(row) == columns


def turns(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": "x"} for role in roles]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (turns("assistant"), "roles out of order: assistant comes first in 'messages'[0]"),
        (turns("user", "user", "assistant"), "roles out of order: user follows user in 'messages'[1]"),
        (turns("user", "system", "assistant"), "roles out of order: system follows user in 'messages'[1]"),
        (turns("user", "assistant", "assistant"), "roles out of order: assistant follows assistant in 'messages'[2]"),
        (turns("user", "tool", "assistant"), "roles out of order: tool follows user in 'messages'[1]"),
        (turns("user", "assistant", "user"), "roles out of order: the last turn of 'messages' is user, not assistant"),
        (turns("user", "wizard"), "unknown role: 'wizard' in 'messages'[1]"),
        ({"messages": []}, "no messages: 'messages' is an empty list"),
        ({"messages": "x"}, "wrong type: 'messages' is text, not a list of messages"),
        ({"messages": [USER, "x"]}, "wrong type: 'messages'[1] is text, not a message"),
        ({"messages": [{"role": "user"}]}, "missing field: 'messages'[0] needs role and content"),
        ({"messages": [USER, BOT | {"content": " \n"}]}, "empty answer: 'messages'[1]"),
        ({"messages": [USER | {"content": ""}, BOT]}, "empty prompt: 'messages'[0]"),
        ({"messages": [USER, BOT | {"content": None}]}, "wrong type: 'messages'[1] is null, not text"),
        ({"messages": [USER, BOT | {"content": 7}]}, "wrong type: 'messages'[1] is a number, not text"),
        ({"messages": [USER, BOT | {"weight": -1}]}, "wrong weight: 'messages'[1] has weight -1"),
        ({"messages": [USER, BOT | {"weight": "1"}]}, "wrong weight"),
        ({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [{}]}]}, "tool_calls: 'messages'[1]"),
        (
            {"messages": [USER | {"content": [{"type": "image_url"}]}, BOT]},
            "not text: 'messages'[0] holds a part of type 'image_url'",
        ),
        ({"messages": [USER, BOT], "tools": "{"}, "invalid tools: 'tools' is text, but not JSON"),
        ({"messages": [USER, BOT], "tools": {"a": 1}}, "invalid tools: 'tools' is not a list of objects"),
        ({"instruction": "x", "output": ""}, "empty answer: 'output'"),
        ({"instruction": "x", "output": None}, "wrong type: 'output' is null, not text"),
        ({"instruction": "x", "output": float("nan")}, "wrong type: 'output' is a number, not text"),
        (
            {"instruction": "x", "output": 7},
            "wrong type: 'output' is a number, not text; '{output}' instead of the column makes text of it",
        ),
        ({"instruction": "x", "output": True}, "wrong type: 'output' is a boolean, not text"),
        ({"instruction": " ", "input": "", "output": "y"}, "empty prompt: 'instruction'"),
        ({"instruction": "x", "output": "y", "history": [["a"]]}, "wrong type: 'history'[0] is not a pair"),
        ({"text": ""}, "empty text: 'text'"),
        ({"text": "a\0b"}, "NUL character: in 'text' at character 2"),
        ({"text": "a\ud800b"}, "lone surrogate: U+D800 in 'text'"),
        ({"text": "x" * 5_000_000}, "row too large: 'text' has 5,000,000 characters"),
        ({"text": "x", "label": [{}]}, "wrong type: 'label'[0] is an object, not text"),
        ({"text": "x", "label": 0.5}, "wrong type: 'label' is a number, not text"),
        ({"tokens": ["a", "b"], "tags": ["O"]}, "lengths differ: 'tokens' has 2 words, 'tags' 1 tags"),
        ({"tokens": "a b", "tags": ["O"]}, "wrong type: 'tokens' is no list with something in it"),
        ({"tokens": ["a", ""], "tags": ["O", "O"]}, "empty word: 'tokens'[1]"),
        ({"anchor": "a", "positive": ""}, "empty text: 'positive'"),
        ({"prompt": "Q", "chosen": "a", "rejected": "a"}, "chosen equals rejected: nothing is preferred"),
        ({"prompt": "Q", "chosen": "a", "rejected": " "}, "empty answer: 'rejected'"),
        ({"prompt": "Q", "chosen": USER, "rejected": BOT}, "roles out of order"),
        (
            {"prompt": "Other", "chosen": [USER, BOT], "rejected": [USER, BOT | {"content": "b"}]},
            "prompt differs: the prompt column",
        ),
        ({"chosen": [USER, BOT], "rejected": [USER | {"content": "Ho"}, BOT]}, "prompt differs: chosen and rejected"),
        ({"chosen": [BOT], "rejected": [BOT | {"content": "b"}]}, "missing field: no prompt"),
        ({"chosen": TRANSCRIPT + "a", "rejected": TRANSCRIPT + " "}, "empty answer: 'rejected'[3]"),
        ({"chosen": "x" + TRANSCRIPT + "a", "rejected": TRANSCRIPT + "b"}, "no transcript: 'chosen' must begin"),
        (
            {"chosen": TRANSCRIPT + "a\n\nHuman: b", "rejected": TRANSCRIPT + "a\n\nHuman: c"},
            "roles out of order: the last turn",
        ),
    ],
)
def test_rows_that_cannot_be_used(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unusable) as found:
        convert(row)
    assert str(found.value).startswith(reason)


def test_a_missing_field_is_named() -> None:
    rows = [{"prompt": "Q", "completion": "A"}, {"prompt": "Q"}]
    with pytest.raises(Unusable, match="missing field: 'completion'"):
        layout("data.x", DataSource(), rows).convert(rows[1])


def test_rows_are_counted_by_the_kind_of_reason() -> None:
    assert kind_of("invalid JSON: at column 3: x") == "invalid JSON"
    assert kind_of("too old") == "too old"


def test_optional_columns_may_be_null() -> None:
    row = {
        "instruction": "x",
        "input": None,
        "output": "y",
        "system": None,
        "history": None,
        "tools": None,
        "label": None,
    }
    assert convert(row) == {"prompt": "x", "completion": "y"}


def test_a_pair_may_say_by_how_much_it_is_won() -> None:
    pair = {"prompt": "x", "chosen": "y", "rejected": "z"}
    assert convert(pair | {"margin": 2}) == pair | {"margin": 2.0}
    assert convert(pair | {"margin": None}) == pair
    assert "margin" not in convert({"text": "x", "margin": 2})
    for wrong in ("much", float("nan")):
        with pytest.raises(Unusable, match=r"'margin' is .*, not a number"):
            convert(pair | {"margin": wrong})


def test_unused_columns_are_counted() -> None:
    rows = [{"text": "x", "url": 1}, {"text": "y", "url": 2, "date": 3}]
    found = layout("data.x", DataSource(), rows)
    for row in rows:
        found.convert(row)
    assert found.extra == {"url": 2, "date": 1}
    found = layout("data.x", DataSource(), [{"messages": [USER | {"name": "Ann"}, BOT]}])
    found.convert({"messages": [USER | {"name": "Ann"}, BOT]})
    assert found.extra == {"message.name": 1}


def test_columns_are_mapped() -> None:
    row = {"QUESTION": "Q", "ANSWER": "A", "messages": 3, "text": "t", "final": "yes"}
    columns = Columns(prompt="QUESTION", completion="ANSWER", label="final")
    assert convert(row, columns=columns) == {"prompt": "Q", "completion": "A", "label": "yes"}
    assert (
        said(row, columns=columns)
        == "prompt_completion columns mapped (prompt=QUESTION, completion=ANSWER, label=final)"
    )
    assert convert(row | {"prompt": "p"}, columns=Columns(text="text")) == {"text": "t"}
    assert convert({"chat": [USER, BOT], "prompt": "p"}, columns=Columns(messages="chat")) == {"messages": [USER, BOT]}
    row = {"text": "a b", "words": ["a", "b"], "bio": ["O", "O"], "sentence1": "s", "sentence2": "t", "prompt": "p"}
    assert convert(row, columns=Columns(tokens="words", tags="bio")) == {"tokens": ["a", "b"], "tags": ["O", "O"]}
    pair = Columns(anchor="sentence1", positive="sentence2")
    assert convert(row, columns=pair) == {"anchor": "s", "positive": "t"}
    assert convert({"text": "t", "category": "c"}, columns=Columns(label="category")) == {"text": "t", "label": "c"}


def test_a_format_can_be_demanded() -> None:
    row = {"text": "t", "prompt": "Q", "completion": "A", "messages": [USER, BOT]}
    assert convert(row, format=Format.text) == {"text": "t"}
    assert convert(row, format=Format.prompt_completion) == {"prompt": "Q", "completion": "A"}
    assert convert(row, format=Format.messages) == {"messages": [USER, BOT]}
    assert said(row, format=Format.text) == "text columns configured"
    row = {"prompt": "Q", "completion": "A", "label": 0}
    assert convert(row, format=Format.unpaired) == {"prompt": "Q", "completion": "A", "label": False}
    for wrong in ("perhaps", None):
        with pytest.raises(Unusable, match=r"wrong label: 'label' is 'perhaps'|no label: 'label' is empty"):
            convert(row | {"label": wrong}, format=Format.unpaired)


@pytest.mark.parametrize(
    ("row", "source", "message"),
    [
        ({"a": 1, "b": 2}, {}, r"no known layout in the columns a, b\..*data.x.columns.prompt="),
        ({"chosen": "a", "rejected": "b"}, {}, "chosen and rejected need a prompt"),
        ({"meta": 1, "examples": [{"a": 1}]}, {}, "no known layout"),
        (
            {"question": "Q"},
            {"columns": Columns(prompt="qestion")},
            r"no such column \(it has question\)\. Did you mean 'question'\?",
        ),
        ({"a": 1}, {"format": Format.alpaca}, "data.x.format=alpaca needs prompt and completion; the file has a"),
        (
            {"a": 1},
            {"format": Format.text, "columns": Columns(chosen="a")},
            "data.x.columns.chosen has no meaning for format=text",
        ),
    ],
)
def test_layouts_that_cannot_be_recognised(row: dict[str, Any], source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        said(row, **source)
