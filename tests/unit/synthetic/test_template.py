"""Generator `template`: the same rows for the same seed, no repeats, parts that never meet."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tuneforge.conversation import offers
from tuneforge.errors import ConfigError
from tuneforge.rows import Row
from tuneforge.settings import Run
from tuneforge.synthetic.template import Part, Template

FEW = "slots: {s: [a, b, c]}\ntasks: {t: {prompt: '{s}', completion: x}}"


class Listener:
    """The part of a run's context that a generator uses."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.notes: list[str] = []

    def note(self, text: str, **numbers: float) -> None:
        self.notes.append(text)


def generate(template: Template, seed: int = 0) -> tuple[list[Row], list[str]]:
    listener = Listener(seed)
    return [row for row in template.generate([], listener) if isinstance(row, Row)], listener.notes  # type: ignore[arg-type]


def digest(rows: list[Row]) -> str:
    text = "\n".join(json.dumps(dict(row.columns), sort_keys=True) for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def prompts(rows: list[Row]) -> set[str]:
    found = set()
    for row in rows:
        messages = row.columns.get("messages") or [{"role": "user", "content": row.columns["prompt"]}]
        found |= {m["content"] for m in messages if m["role"] == "user"}
    return found


@pytest.mark.parametrize("grammar", ["general", "helpdesk"])
def test_a_seed_fixes_the_rows(grammar: str) -> None:
    first, _ = generate(Template(grammar=grammar, count=300), seed=3)
    again, _ = generate(Template(grammar=grammar, count=300, seed=3), seed=9)
    other, _ = generate(Template(grammar=grammar, count=300), seed=4)
    assert digest(first) == digest(again) != digest(other)


def test_rows_are_the_same_on_every_machine() -> None:
    rows, _ = generate(Template(grammar="helpdesk", count=200, seed=7))
    assert digest(rows) == "b5bb4c4877a5f756"


def test_a_row_knows_where_it_comes_from() -> None:
    rows, _ = generate(Template(grammar="helpdesk", count=50))
    assert [row.line for row in rows] == list(range(1, 51))
    assert {(row.source, row.file) for row in rows} == {("template", "helpdesk.yaml")}
    assert len({row.group for row in rows}) == 50
    assert all(offers(row.columns, kind) for row in rows for kind in ("completion", "preference", "messages"))


def test_prompts_come_once_and_repeats_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "few.yaml"
    path.write_text(FEW, encoding="utf-8")
    rows, notes = generate(Template(grammar=str(path), count=3))
    assert len(prompts(rows)) == 3
    assert not notes or "drawn again" in notes[0]
    rows, notes = generate(Template(grammar=str(path), count=10, unique=False))
    assert len(rows) == 10
    assert notes == [f"synthetic {path}: 7 repeated prompts kept"]
    with pytest.raises(ConfigError, match=r"few\.yaml: no further different prompt in part 'all' after 3 of 4 rows"):
        generate(Template(grammar=str(path), count=4))


def test_unused_slots_are_said(tmp_path: Path) -> None:
    path = tmp_path / "few.yaml"
    path.write_text(FEW.replace("]}", "], spare: [d]}"), encoding="utf-8")
    assert generate(Template(grammar=str(path), count=1))[1] == [f"synthetic {path}: slots used nowhere: spare"]
    for bundled in ("general", "helpdesk"):
        assert not any("nowhere" in note for note in generate(Template(grammar=bundled, count=1))[1])


@pytest.mark.parametrize("grammar", ["general", "helpdesk"])
def test_parts_share_no_prompt_whatever_the_seed(grammar: str) -> None:
    made = {part: prompts(generate(Template(grammar=grammar, count=1500, part=part), seed=i)[0])
            for i, part in enumerate((Part.train, Part.validation, Part.test))}  # fmt: skip
    assert not made[Part.train] & made[Part.test]
    assert not made[Part.train] & made[Part.validation]
    assert not made[Part.validation] & made[Part.test]


def test_only_named_tasks_are_drawn() -> None:
    rows, _ = generate(Template(count=20, tasks=["capitals"]))
    assert all(row.columns["completion"].isupper() for row in rows)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (Template(grammar="genral"), "Did you mean 'general'"),
        (Template(tasks=["cpy"]), "Did you mean 'copy'"),
        (Template(count=0), "count=0"),
        (Template(held_out=0.5), "held_out=0.5"),
        (Template(teacher="gpt"), "asks no teacher"),
    ],
)
def test_check_says_why_it_cannot_serve(template: Template, reason: str) -> None:
    (found,) = template.check(Run())
    assert reason in found
