"""Distributions, outliers, and evaluation sets of other lengths."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.unit.audit.conftest import MakeSubject
from tests.unit.audit.prose import sentence
from tuneforge.audit.lengths import check, cliffs_delta
from tuneforge.rows import Row
from tuneforge.strategy.clm import Clm


def answers(count: int, low: int, high: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [{"prompt": sentence(n), "completion": sentence(n, draw.randint(low, high))} for n in range(count)]


def test_cliffs_delta_is_the_mean_sign_over_all_pairs() -> None:
    draw = random.Random(0)
    a, b = (sorted(draw.choices(range(20), k=n)) for n in (30, 47))
    signs = [(x > y) - (x < y) for x in a for y in b]
    assert cliffs_delta(a, b) == pytest.approx(sum(signs) / len(signs))
    assert (cliffs_delta([2, 3], [0, 1]), cliffs_delta([1], [1])) == (1.0, 0.0)


def test_answers_of_a_test_set_that_are_twice_as_long_warn(make_subject: MakeSubject) -> None:
    found = list(check(make_subject(answers(200, 10, 30), sets={"test.long": answers(50, 30, 60, 1)})))
    warned = [f for f in found if f.severity == "warning"]
    assert [(f.count, f.of) for f in warned] == [(50, 50)]
    assert warned[0].text.startswith("answers of test.long have")
    alike = list(check(make_subject(answers(200, 10, 30), sets={"test.same": answers(50, 10, 30, 2)})))
    assert {f.severity for f in alike} <= {"ok", "info"}


def test_a_general_set_may_be_of_other_lengths(make_subject: MakeSubject) -> None:
    subject = make_subject(answers(200, 10, 30), sets={"test.g": answers(50, 60, 90)}, role="general")
    assert "warning" not in {f.severity for f in check(subject)}


def test_a_set_is_held_against_the_source_it_is_nearest_to(make_subject: MakeSubject) -> None:
    mixed = [Row(columns=c, source="data.long", line=2) for c in answers(40, 30, 60, 3)]
    mixed += [Row(columns=c, source="data.short", line=2) for c in answers(400, 2, 6)]
    found = list(check(make_subject(mixed, sets={"test.long": answers(50, 30, 60, 4)})))
    assert "warning" not in {f.severity for f in found}
    assert any("those of data.long" in f.text for f in found)


def test_what_is_far_out_is_shown_and_the_bins_add_up(make_subject: MakeSubject) -> None:
    rows = [{"text": sentence(n, random.Random(n).randint(20, 40))} for n in range(300)]
    rows += [{"text": sentence(1, 3000)}, {"text": "one"}]
    found = next(iter(check(make_subject(rows, Clm()))))
    assert (found.severity, found.count, found.of) == ("info", 2, 302)
    assert [r.text for r in found.rows] == ["3,000 words", "1 words"]
    assert sum(height for _, height in found.bars) == 302
    assert found.numbers["max"] == 3000
