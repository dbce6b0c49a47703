"""MTLD against lexicalrichness 0.5.1, self-BLEU against sacrebleu; templates and openings that are found."""

from __future__ import annotations

import random

import pytest
from sacrebleu.metrics import BLEU

from tests.unit.audit.conftest import MakeSubject
from tests.unit.audit.prose import paragraph, question
from tuneforge.audit.diversity import check
from tuneforge.audit.lexical import distinct, mtld, self_bleu

PLAY = (
    "it was the best of times it was the worst of times it was the age of wisdom it was the age of foolishness it was"
    " the epoch of belief it was the epoch of incredulity it was the season of light it was the season of darkness it"
    " was the spring of hope it was the winter of despair we had everything before us we had nothing before us we were"
    " all going direct to heaven we were all going direct the other way"
)


def drawn(seed: int, words: int, vocabulary: int) -> list[str]:
    draw = random.Random(seed)
    return [f"w{int(vocabulary * draw.random() ** 2)}" for _ in range(words)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [(PLAY.split(), 12.142857143), (drawn(0, 500, 80), 32.401980477), (drawn(1, 2000, 900), 400.0)],
)
def test_mtld_is_that_of_lexicalrichness(words: list[str], expected: float) -> None:
    assert mtld(words) == pytest.approx(expected, abs=1e-9)


def test_mtld_at_its_ends() -> None:
    assert mtld([]) == 0
    assert mtld(["a", "b", "c"]) == float("inf")
    assert mtld(["a"] * 10) == 2.0


def test_distinct_n_by_hand() -> None:
    assert distinct(list("abab"), 1) == 0.5
    assert distinct(list("abab"), 2) == pytest.approx(2 / 3)
    assert distinct(["a"], 2) == 0


def test_self_bleu_is_sacrebleus_mean_over_all_texts() -> None:
    texts = [drawn(n, 5 + n % 17, 40) for n in range(25)]
    bleu = BLEU(tokenize="none", smooth_method="floor", smooth_value=0.1, effective_order=False)
    joined = [" ".join(text) for text in texts]
    scores = [bleu.sentence_score(t, joined[:n] + joined[n + 1 :]).score / 100 for n, t in enumerate(joined)]
    assert self_bleu(texts) == pytest.approx(sum(scores) / len(scores), rel=1e-9)


def test_self_bleu_of_equal_and_of_single_texts() -> None:
    assert self_bleu([["a", "b", "c", "d", "e"]] * 3) == pytest.approx(1)
    assert self_bleu([["a"]]) == 0


def test_templates_warn_and_prose_does_not(make_subject: MakeSubject) -> None:
    template = "Your ticket about the {} was sent to the desk of the {}, and they will call you back today."
    words = paragraph(1, 30).replace(".", "").split()
    rows = [{"prompt": question(n), "completion": template.format(words[n], words[n + 9])} for n in range(150)]
    found = [f for f in check(make_subject(rows)) if f.severity == "warning"]
    assert ["few patterns" in f.text for f in found] == [True, False]
    assert '150 of 150 answers begin "your ticket about" (100.0%)' in found[1].text
    prose = [{"prompt": question(n), "completion": paragraph(n)} for n in range(150)]
    assert {f.severity for f in check(make_subject(prose))} == {"ok"}


def test_labels_and_fields_are_not_measured(make_subject: MakeSubject) -> None:
    rows = [{"prompt": question(n), "completion": "yes"} for n in range(100)]
    assert not [f for f in check(make_subject(rows)) if "answers" in f.text]
