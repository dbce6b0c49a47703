"""Answers under a JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuneforge.errors import ConfigError
from tuneforge.evaluator.json_schema import JsonSchema
from tuneforge.rows import Answer, Row

pytest.importorskip("jsonschema")
TICKET = {
    "type": "object",
    "properties": {"queue": {"enum": ["network", "printer"]}, "urgency": {"$ref": "#/$defs/level"}},
    "required": ["queue", "urgency"],
    "additionalProperties": False,
    "$defs": {"level": {"type": "integer", "minimum": 1, "maximum": 3}},
}


def row(**fields: Any) -> Row:
    return Row(columns={"prompt": "q"}, source="test.x", file="a.jsonl", line=4, fields=fields)


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "ticket.json").write_text(json.dumps(TICKET))
    return str(tmp_path / "ticket.json")


@pytest.mark.parametrize(
    ("answer", "valid", "parses"),
    [
        ('{"queue": "network", "urgency": 2}', 1, 1),
        (' \n{"urgency": 3, "queue": "printer"}\n', 1, 1),
        ('{"queue": "network", "urgency": 4}', 0, 1),
        ('{"queue": "network"}', 0, 1),
        ('{"queue": "network", "urgency": 2, "x": 1}', 0, 1),
        ("[1]", 0, 1),
        ("Sure: {}", 0, 0),
        ("", 0, 0),
        ("NaN", 0, 0),
        ("[" * 100_000, 0, 0),
        ('```json\n{"queue": "network", "urgency": 2}\n```', 0, 0),
    ],
)
def test_answers(path: str, answer: str, valid: float, parses: float) -> None:
    assert JsonSchema(schema=path).score(row(), Answer(answer)) == {"json_schema": valid, "parses": parses}


def test_a_fenced_block_where_it_is_wanted(path: str) -> None:
    evaluator = JsonSchema(schema=path, fenced=True)
    fenced = 'Here:\n```json\n{"queue": "network", "urgency": 2}\n```\nDone.'
    assert evaluator.score(row(), Answer(fenced))["json_schema"] == 1
    assert evaluator.score(row(), Answer('{"queue": "network", "urgency": 2}'))["json_schema"] == 1
    assert evaluator.score(row(), Answer(fenced, error="no room")) == {"json_schema": 0, "parses": 0}


def test_each_row_may_have_its_own() -> None:
    rows = [row(schema={"type": "integer"}), row(schema='{"type": "string"}'), row(schema=True)]
    answers = [Answer("1"), Answer("1"), Answer("1")]
    found = list(JsonSchema(column="schema").judge(rows, answers, None))  # type: ignore[arg-type]
    assert [one["json_schema"] for one in found] == [1, 0, 1]


def test_older_drafts_are_kept_to() -> None:
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True}
    assert JsonSchema(column="s").score(row(s=old), Answer("1"))["json_schema"] == 0
    assert JsonSchema(column="s").score(row(s={"exclusiveMinimum": 0}), Answer("1"))["json_schema"] == 1


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "objekt"}, r"a.jsonl:4: s: is no JSON Schema: \$.type: 'objekt'"),
        ("{", "a.jsonl:4: s: is no JSON: "),
        ([1], "a schema is an object or a boolean, not"),
        ({"$schema": "http://example.org/mine"}, "no draft of JSON Schema is called 'http://example.org/mine'"),
        (
            {"$ref": "http://127.0.0.1:9/schema.json"},
            "refers to http://127.0.0.1:9/schema.json, which it does not hold",
        ),
        ({"$ref": "file:///etc/passwd"}, "nothing is fetched"),
    ],
)
def test_a_schema_that_is_none_names_its_row(schema: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        JsonSchema(column="s").score(row(s=schema), Answer("{}"))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "absent.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=rf"evaluator.json_schema.schema={path}: cannot be read: {said}"):
            list(JsonSchema(schema=str(path)).measure(None, [row()], None))  # type: ignore[arg-type]


def test_one_of_schema_and_column() -> None:
    for evaluator in (JsonSchema(), JsonSchema(schema="a", column="b")):
        assert "name one of both" in next(iter(evaluator.check(None)))  # type: ignore[arg-type]
    assert not list(JsonSchema(column="b").check(None))  # type: ignore[arg-type]
