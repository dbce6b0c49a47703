"""Formats of answers, and the answers and classes that leave them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.audit.conftest import MakeSubject
from tests.unit.audit.prose import paragraph, question
from tuneforge.audit.formats import check, kind
from tuneforge.strategy.classification import Classification


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"a": 1}', "json"), (" [1, 2] ", "json"), ("{a: 1}", "prose"), ("{broken", "word"), ("42", "number"),
        ("$1,300.50", "number"), ("-3 %", "number"), ("B", "letter"), ("(c)", "letter"), ("Yes.", "yes or no"),
        ("maybe", "yes or no"), ("network", "word"), ("Two words", "prose"), ("def f(x):\n    return x", "code"),
        ("MATCH (n) RETURN n", "code"), ("Do:\n- one\n- two", "list"), ("1. one\n2. two", "list"),
        ("# Title\ntext of it", "markdown"), ("a **bold** word", "markdown"), ("<p>text</p>", "xml"),
        ("12 * 3 = 36 eggs\n#### 36", "prose"), ("", "word"),
    ],
)  # fmt: skip
def test_kind_of_an_answer(answer: str, expected: str) -> None:
    assert kind(answer) == expected


def answered(*answers: str) -> list[dict[str, Any]]:
    return [{"prompt": question(n), "completion": answer} for n, answer in enumerate(answers)]


def ticket(n: int, **more: Any) -> str:
    return json.dumps({"queue": "network", "urgency": n % 3, **more})


def test_prose_among_json_warns_with_every_row(make_subject: MakeSubject) -> None:
    subject = make_subject(answered(*(ticket(n) for n in range(92)), *(paragraph(n, 1) for n in range(8))))
    found = [f for f in check(subject) if f.severity == "warning"]
    assert [(f.count, f.of, len(f.rows)) for f in found] == [(8, 100, 8)]
    assert "json 92%, prose 8%" in found[0].text


def test_two_sources_with_a_format_each_do_not_mix(make_subject: MakeSubject) -> None:
    from tuneforge.rows import Row

    rows = [Row(columns=c, source="data.a", line=2) for c in answered(*(ticket(n) for n in range(50)))]
    rows += [Row(columns=c, source="data.b", line=2) for c in answered(*(paragraph(n) for n in range(50)))]
    assert {f.severity for f in check(make_subject(rows))} == {"ok"}


def test_json_of_other_keys_and_a_missing_last_line_warn(make_subject: MakeSubject) -> None:
    keyed = check(make_subject(answered(*(ticket(n) for n in range(60)), *(ticket(n, note="x") for n in range(3)))))
    assert [f.count for f in keyed if f.severity == "warning"] == [3]
    sums = [f"{paragraph(n, 1)}\n#### {n}" for n in range(60)] + [paragraph(n, 1) for n in range(2)]
    closed = [f for f in check(make_subject(answered(*sums))) if f.severity == "warning"]
    assert [f.count for f in closed] == [2]
    assert "close with a line that begins with ####" in closed[0].text


def test_blanks_before_some_answers_warn_and_before_all_do_not(make_subject: MakeSubject) -> None:
    some = check(make_subject(answered(*(" yes" for _ in range(5)), *("no" for _ in range(45)))))
    assert [f.count for f in some if f.severity == "warning"] == [5]
    assert {f.severity for f in check(make_subject(answered(*(" yes" for _ in range(50)))))} == {"ok"}


def test_classes_written_twice_and_in_another_style_warn(make_subject: MakeSubject) -> None:
    names = [f"card_{word}" for word in "abcdefghijkl"]
    rows = [{"text": question(n), "label": names[n % 12]} for n in range(120)]
    assert {f.severity for f in check(make_subject(rows, Classification()))} == {"ok"}
    rows += [{"text": question(200), "label": "Card_A"}, {"text": question(201), "label": "Top_up?"}]
    found = [f for f in check(make_subject(rows, Classification())) if f.severity == "warning"]
    assert [f.count for f in found] == [11, 2]
    assert "Card_A / card_a" in found[0].text
    assert "2 of 14 classes are written in another style: Card_A, Top_up?" in found[1].text


@pytest.mark.parametrize("listed", [True, False])
def test_lists_of_classes_count_too(listed: bool, make_subject: MakeSubject) -> None:
    rows = [{"text": question(n), "label": ["Mild", "mild"] if listed else ["mild"]} for n in range(30)]
    found = {f.severity for f in check(make_subject(rows, Classification()))}
    assert found == ({"warning"} if listed else {"ok"})
