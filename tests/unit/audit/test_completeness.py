"""Placeholders, slots that nobody filled, answers that break off, rows lost in reading."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.audit.conftest import MakeSubject
from tests.unit.audit.prose import paragraph, question
from tuneforge.audit.completeness import check
from tuneforge.preparation.intake import SourceReport


def asked(*answers: str, clean: int = 100) -> list[dict[str, Any]]:
    rows = [{"prompt": question(n), "completion": paragraph(n)} for n in range(clean)]
    return rows + [{"prompt": question(1000 + n), "completion": answer} for n, answer in enumerate(answers)]


def test_placeholders_are_counted_and_shown(make_subject: MakeSubject) -> None:
    found = [f for f in check(make_subject(asked("N/A", "nan", "TODO", "<nooutput>", "None", "nano"))) if f.count]
    assert [(f.severity, f.count, f.of, [r.place for r in f.rows]) for f in found] == [
        ("warning", 4, 106, [f"train.jsonl:{n}" for n in (101, 102, 103, 104)])
    ]


def test_slots_of_templates_warn_and_slots_of_letters_do_not(make_subject: MakeSubject) -> None:
    slots = asked(
        "I am {{name}} by {{ author }}.", "Dear [Recipient], [Your Name]", "```\n{{ item }}\n```", "{not one}"
    )
    found = {f.severity: f for f in check(make_subject(slots)) if f.count}
    assert {severity: one.count for severity, one in found.items()} == {"warning": 1, "info": 1}
    assert "{{name}} 1" in found["warning"].text


def test_many_broken_answers_warn_and_few_do_not(make_subject: MakeSubject) -> None:
    cut = [f"{paragraph(n)} And then it carries the" for n in range(200, 204)]
    some = [f for f in check(make_subject(asked(*cut))) if "within a sentence" in f.text]
    few = [f for f in check(make_subject(asked(cut[0]))) if "within a sentence" in f.text]
    assert [(f.severity, f.count, f.of) for f in some + few] == [("warning", 4, 104), ("ok", 1, 101)]


def test_rows_lost_in_reading_are_counted_by_reason_and_shares_are_no_source(make_subject: MakeSubject) -> None:
    report = SourceReport("train", "train", "a.jsonl", "json", 10, 7, 7, {"empty answer": 2, "no text": 1}, "target")
    share = SourceReport("share", "test", "", "share", 3, 3, 3, {}, "target")
    found = list(check(replace(make_subject(asked()), sources=[report, share])))
    assert "3 of 10 rows read could not be used: 2 empty answer, 1 no text" in [f.text for f in found]


def test_fields_that_only_some_rows_have_are_named(make_subject: MakeSubject) -> None:
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    first = next(iter(check(make_subject([{"messages": talk}, {"messages": talk[1:], "tools": [{"name": "f"}]}]))))
    assert "only some have a system message in 1 of 2 rows of data.train, tools in 1 of 2 rows" in first.text
