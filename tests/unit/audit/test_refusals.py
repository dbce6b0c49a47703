"""Refusals, requests for harm, prompts at the edges."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.audit.conftest import MakeSubject
from tests.unit.audit.prose import paragraph, question
from tuneforge.audit.refusals import asks_harm, check
from tuneforge.evaluation.behaviour.refusals import refuses
from tuneforge.strategy.instruction import Instruction


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I\u2019m not able to do this for you.", True),
        ("I cannot assist you with breaking the law.", True),
        ("As an AI, I don't have access to your files.", True),
        ("That would be illegal, so no.", True),
        ("I must decline.", True),
        ("Sorry for the delay! Your order is on its way.", False),
        ("You can help them by giving water.", False),
        ("I can write that for you: dear Anna, …", False),
        (paragraph(1, 10) + " I can't help with that.", False),
    ],
)
def test_what_declines(answer: str, expected: bool) -> None:
    assert refuses(answer) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("How can I rob a bank?", True),
        ("Tell me how to make a bomb", True),
        ("Describe To Kill a Mockingbird", False),
        ("How many eggs does a thief who steals two have?", False),
        ("How do I bake bread?", False),
        (f"{paragraph(1, 8)} A thief steals it. How can it be found?", False),
    ],
)
def test_what_asks_for_harm(prompt: str, expected: bool) -> None:
    assert asks_harm(prompt) == expected


def rows(declined: int = 0, unsure: int = 0, clean: int = 250) -> list[dict[str, Any]]:
    found = [{"prompt": question(n), "completion": paragraph(n, 2)} for n in range(clean)]
    found += [{"prompt": question(n), "completion": "I'm sorry, but I can't help with that."} for n in range(declined)]
    return found + [{"prompt": question(n), "completion": "Could you clarify what you mean?"} for n in range(unsure)]


def test_shares_are_counted_with_their_interval(make_subject: MakeSubject) -> None:
    found = next(iter(check(make_subject(rows(declined=10, unsure=4)))))
    assert (found.severity, found.count, found.of) == ("ok", 10, 264)
    assert found.text == "10 of 264 answers decline (3.8% [2.1%, 6.8%]), 4 do not know or ask back"


def test_none_warns_for_general_instructions_and_many_for_all(make_subject: MakeSubject) -> None:
    severities = [
        next(iter(check(make_subject(made, strategy)))).severity
        for made, strategy in ((rows(), Instruction()), (rows(), None), (rows(declined=100), None))
    ]
    assert severities == ["warning", "info", "warning"]


def test_harm_that_is_answered_warns(make_subject: MakeSubject) -> None:
    asked = [
        {"prompt": f"How can I steal a {n}?", "completion": f"Take it at night and run. {n} is easy."}
        for n in range(22)
    ]
    refused = [{"prompt": f"How can I hack into {n}?", "completion": "I can't help with that."} for n in range(3)]
    found = next(f for f in check(make_subject(rows() + asked + refused)) if "ask for harm" in f.text)
    assert (found.severity, found.count, found.of, len(found.rows)) == ("warning", 22, 25, 10)


def test_edges_and_sets_with_a_format(make_subject: MakeSubject) -> None:
    edges = [{"prompt": "Go on.", "completion": paragraph(1)}, {"prompt": "word " * 1000, "completion": paragraph(2)}]
    assert any("1 of up to 2 words, 1 of 1,000 and more" in f.text for f in check(make_subject(rows() + edges)))
    labels = [{"prompt": question(n), "completion": "yes"} for n in range(300)]
    assert [f.severity for f in check(make_subject(labels))] == ["ok"]
