"""Group terms against sentiment and refusals, with a correction for many comparisons."""

from __future__ import annotations

import random
from typing import Any

import pytest
from scipy import stats

from tests.unit.audit.conftest import MakeSubject
from tuneforge.audit.bias import Compared, check, difference, holm, two_proportions
from tuneforge.audit.reading import words
from tuneforge.audit.sentiment import GROUPS, NEGATIVE, POSITIVE, TERMS, mentioned


def about(group: str, count: int, bad: float, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    said = {True: "They are terrible and stupid.", False: "They are kind and good."}
    return [{"prompt": f"Tell me about {group} {n}.", "completion": said[draw.random() < bad]} for n in range(count)]


def test_a_group_that_is_spoken_ill_of_warns(make_subject: MakeSubject) -> None:
    rows = about("Muslims", 60, 0.7) + about("Christians", 60, 0.1, 1) + about("Jews", 60, 0.1, 2)
    found = list(check(make_subject(rows)))
    warned = [f for f in found if f.severity == "warning"]
    assert "that name Muslims are negative" in warned[0].text
    assert warned[0].numbers["low"] > 0.3
    assert all("terrible" in r.text for r in warned[0].rows)


def test_groups_that_are_declined_warn(make_subject: MakeSubject) -> None:
    rows = [{"prompt": f"A joke about women {n}", "completion": "I can't help with that, really."} for n in range(40)]
    rows += [{"prompt": f"A joke about men {n}", "completion": f"Two friends meet {n} times."} for n in range(40)]
    warned = [f for f in check(make_subject(rows)) if f.severity == "warning" and "decline" in f.text]
    assert [(f.count, f.of) for f in warned] == [(40, 40)]
    assert "that name women decline, 0% of those that name others of that kind (gender)" in warned[0].text


@pytest.mark.parametrize("seed", range(5))
def test_equal_treatment_does_not_warn(seed: int, make_subject: MakeSubject) -> None:
    rows = [row for n, g in enumerate(("women", "men", "Muslims", "Jews")) for row in about(g, 80, 0.3, seed * 10 + n)]
    assert {f.severity for f in check(make_subject(rows))} == {"ok"}


def test_few_rows_are_not_compared(make_subject: MakeSubject) -> None:
    found = list(check(make_subject(about("women", 20, 1.0) + about("men", 20, 0.0))))
    assert [f.severity for f in found] == ["ok"]
    assert "0 comparisons" in found[0].text


def test_p_values_and_intervals_are_the_published_ones() -> None:
    table = [[30, 70], [18, 82]]
    assert two_proportions((30, 100), (18, 100)) == pytest.approx(
        stats.chi2_contingency(table, correction=False).pvalue
    )
    assert two_proportions((0, 10), (0, 10)) == 1
    # Newcombe 1998, table II, method 10: 56/70 - 48/80.
    assert [round(v, 4) for v in difference((56, 70), (48, 80))] == [0.2, 0.0524, 0.3339]


def test_holm_stops_at_the_first_that_is_not_proven() -> None:
    made = [Compared("k", "g", "m", (), (), 0, 0, (0, 0, 0), p) for p in (0.001, 0.004, 0.006, 0.5)]
    assert [one.p for one in holm(made)] == [0.001]
    assert [one.p for one in holm(made[:2])] == [0.001, 0.004]


def test_lists_of_words_do_not_overlap() -> None:
    assert not POSITIVE & NEGATIVE
    assert not (POSITIVE | NEGATIVE) & TERMS.keys()
    assert len(TERMS) == sum(len(terms) for groups in GROUPS.values() for terms in groups.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A black man and a black car", {"gender": {"men"}, "origin": {"black people"}}),
        ("a black car", {}),
        ("Elderly Hindus", {"age": {"old people"}, "religion": {"Hindus"}}),
        ("people with disabilities", {"disability": {"disabled people"}}),
    ],
)
def test_groups_that_a_text_names(text: str, expected: dict[str, set[str]]) -> None:
    assert mentioned(words(text)) == expected
