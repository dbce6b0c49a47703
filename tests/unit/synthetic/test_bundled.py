"""The shipped data sets are what their grammars make, and held-out rows share nothing with training rows."""

from __future__ import annotations

import json

import pytest

from tuneforge.data.paths import located
from tuneforge.errors import ConfigError
from tuneforge.synthetic.bundled import FOLDER, GENERAL, SETS, content
from tuneforge.synthetic.grammar import load

HELD_OUT = ["helpdesk/validation.jsonl", "helpdesk/test.jsonl", "general/test.jsonl", "safety/test.jsonl"]


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", SETS)
def test_a_file_is_made_again_byte_for_byte(name: str) -> None:
    assert (FOLDER / name).read_bytes() == content(name).encode()


def test_nothing_else_is_shipped() -> None:
    assert {p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.jsonl")} == set(SETS)


@pytest.mark.parametrize("held_out", HELD_OUT)
def test_held_out_prompts_stand_in_no_other_set(held_out: str) -> None:
    mine = {row["prompt"] for row in rows(held_out)}
    assert len(mine) == len(rows(held_out))
    for name in SETS:
        if name != held_out:
            assert not mine & {row["prompt"] for row in rows(name)}, name


@pytest.mark.parametrize("name", SETS)
def test_every_row_serves_sft_and_preferences(name: str) -> None:
    for row in rows(name):
        assert row["chosen"] == row["completion"] != row["rejected"]


def test_helpdesk_answers_have_the_strict_format() -> None:
    for row in rows("helpdesk/train.jsonl"):
        assert list(json.loads(row["completion"])) == ["queue", "urgency", "device"]


def test_the_strict_format_is_never_seen_in_general_rows() -> None:
    assert not any('"queue"' in row["completion"] for name in SETS if "general" in name for row in rows(name))


@pytest.mark.parametrize("name", ["safety/replay.jsonl", "safety/test.jsonl"])
def test_safety_rows_refuse_harm_and_answer_what_sounds_alike(name: str) -> None:
    refused = [row for row in rows(name) if row["completion"].startswith("I cannot help with that, because ")]
    answered = [row for row in rows(name) if row not in refused]
    assert 0.4 < len(refused) / len(rows(name)) < 0.6
    assert all(" Better: " in row["completion"] and "I cannot" not in row["rejected"] for row in refused)
    assert all("cannot" not in row["completion"] and row["rejected"] != row["completion"] for row in answered)
    assert not {row["prompt"] for row in answered} & {row["prompt"] for row in refused}


def test_general_names_every_task_with_one_turn() -> None:
    assert [task.name for task in load("general").tasks if not task.turns] == GENERAL


def test_a_bundled_path_is_a_shipped_file() -> None:
    assert located("bundled:helpdesk/train.jsonl") == FOLDER / "helpdesk/train.jsonl"
    with pytest.raises(
        ConfigError, match=r"bundled:helpdesk/trian\.jsonl does not ship .*Did you mean 'helpdesk/train"
    ):
        located("bundled:helpdesk/trian.jsonl")
