"""What stands beside an answer: further right ones, choices, and columns that only evaluators read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuneforge.composition import compose
from tuneforge.context import RunContext
from tuneforge.conversation import references, right_choice
from tuneforge.errors import ConfigError
from tuneforge.preparation.intake import Intake, read_source


def intake(tmp_path: Path, rows: list[dict[str, Any]], *overrides: str) -> Intake:
    path = tmp_path / "exam.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = compose([f"data={path}", f"test={path}", *overrides])
    return read_source("exam", "test", run.test["exam"], RunContext(run, tmp_path))


def test_all_right_answers_are_kept_and_the_first_is_the_answer(tmp_path: Path) -> None:
    found = intake(
        tmp_path, [{"prompt": "2+2?", "references": ["4", "four"]}, {"prompt": "Sea?", "references": "Baltic"}]
    )
    assert [row.columns["completion"] for row in found.rows] == ["4", "Baltic"]
    assert [references(row.columns) for row in found.rows] == [["4", "four"], ["Baltic"]]
    assert references({"prompt": "2+2?", "completion": "4"}) == ["4"]


def test_references_that_are_none_are_quarantined(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "completion": "b", "references": {}},
        {"prompt": "c", "completion": "d", "references": ["e"]},
    ]
    found = intake(tmp_path, rows)
    assert [r.reason for r in found.rejected] == ["wrong type: 'references' is no list with something in it"]


@pytest.mark.parametrize(
    ("answer", "place"),
    [("Paris", 1), (" Paris ", 1), ("B", 1), ("(c)", 2), ("0", 0), ("3", None), ("D", None), ("Bonn", None)],
)
def test_the_right_choice_is_a_text_a_letter_or_a_number(answer: str, place: int | None) -> None:
    columns = {"prompt": "Capital?", "completion": answer, "choices": ["Rome", "Paris", "Oslo"]}
    assert right_choice(columns) == place


def test_kept_columns_are_no_part_of_what_a_model_sees(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "b", "meta": {"year": 1998}, "kind": "x"}, {"prompt": "c", "completion": "d"}]
    found = intake(tmp_path, rows, "test.exam.keep=[kind,meta.year]")
    assert [dict(row.fields) for row in found.rows] == [{"kind": "x", "meta.year": 1998}, {}]
    assert dict(found.rows[0].columns) == {"prompt": "a", "completion": "b"}
    assert found.report.extra == {}
    plain = intake(tmp_path, rows)
    assert plain.rows[0].id == found.rows[0].id


def test_a_kept_column_that_no_row_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"test.exam.keep: no column 'kin' \(prompt, completion, kind\).*'kind'"):
        intake(tmp_path, [{"prompt": "a", "completion": "b", "kind": "x"}], "test.exam.keep=[kin]")
