"""Text metrics equal the libraries of the field, row by row and as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.evaluator.answers import Notes, Speaker, asked, pairs, real, whole
from tuneforge.evaluation.squad import normalised
from tuneforge.evaluator.bleu import TOKENIZERS, Bleu
from tuneforge.evaluator.chrf import Chrf
from tuneforge.evaluator.exact_match import ExactMatch
from tuneforge.evaluator.rouge import Rouge
from tuneforge.evaluator.token_f1 import TokenF1
from tuneforge.rows import Answer

CLOSE = {"rel": 1e-9, "abs": 1e-9}
RUN: Any = None


@pytest.fixture(scope="module", params=["random", pytest.param("real", marks=pytest.mark.shared)])
def cases(request: pytest.FixtureRequest) -> list[tuple[str, list[str]]]:
    return pairs(7) if request.param == "random" else real(request.getfixturevalue("shared"))


def resampled(evaluator: Any, stats: list[Any], drawn: Any) -> dict[str, float]:
    return dict(evaluator.aggregate({name: np.array([stats[i][name] for i in drawn]) for name in stats[0]}))


# ---------------------------------------------------------------- SQuAD


def test_normalisation_is_squads(cases: list[tuple[str, list[str]]]) -> None:
    from torchmetrics.functional.text.squad import _normalize_text

    texts = [text for answer, right in cases for text in (answer, *right)]
    assert [normalised(text) for text in texts] == [_normalize_text(text) for text in texts]


def test_token_f1_is_squads(cases: list[tuple[str, list[str]]]) -> None:
    from torchmetrics.functional.text.squad import squad

    for answer, right in cases:
        if not normalised(answer) or not all(map(normalised, right)):
            continue  # SQuAD 1.1, which torchmetrics has, gives 0 where SQuAD 2.0 gives 1
        found = TokenF1().score(asked(*right), Answer(answer))["token_f1"]
        exact = ExactMatch(squad=True).score(asked(*right), Answer(answer))["exact_match"]
        theirs = squad(
            {"prediction_text": answer, "id": "1"}, {"answers": {"answer_start": [0], "text": right}, "id": "1"}
        )
        assert found == pytest.approx(float(theirs["f1"]) / 100, rel=1e-6), "theirs is a float32"
        assert exact == float(theirs["exact_match"]) / 100


def test_token_f1_in_whole_numbers() -> None:
    found = TokenF1().score(asked("the red cat", "a blue dog runs"), Answer("Blue, red cat!"))
    assert found == {"token_f1": 4 / 5, "precision": 2 / 3, "recall": 1.0}
    nothing = TokenF1().score(asked(" \n"), Answer("the"))
    assert nothing == {"token_f1": 1.0, "precision": 1.0, "recall": 1.0}
    assert set(TokenF1().score(asked(" \n"), Answer("", "no room")).values()) == {0.0}, "an error is never right"
    assert set(TokenF1().score(asked("x"), Answer("x", "no room")).values()) == {0.0}


@pytest.mark.parametrize(
    ("options", "answer", "expected"),
    [
        ({}, " Rome\n", 1),
        ({}, "rome", 0),
        ({"normalise": True}, "the  ETERNAL\ncity", 1),
        ({"normalise": True}, "eternal city", 0),
        ({"squad": True}, "Eternal City.", 1),
        ({}, "", 0),
    ],
)
def test_exact_match_knows_several_references(options: dict[str, bool], answer: str, expected: float) -> None:
    evaluator = ExactMatch(**options)
    assert evaluator.score(asked("Rome", "the eternal city"), Answer(answer)) == {"exact_match": expected}
    assert evaluator.score(asked("Rome"), Answer("Rome", "no room")) == {"exact_match": 0}


def test_exact_match_leaves_room_for_every_reference() -> None:
    lm: Any = Speaker("x", "x")
    list(ExactMatch().measure(lm, [asked("Rome", "the eternal city")], RUN))
    list(ExactMatch(squad=True).measure(lm, [asked("Rome")], RUN))
    assert lm.limits == [16 + 8, 256], "SQuAD's form ignores words that make an answer longer"
    assert list(ExactMatch(squad=True, normalise=True).check(RUN))


# ---------------------------------------------------------------- ROUGE, BLEU, chrF


@pytest.mark.parametrize("stemmer", [False, True])
def test_rouge_is_rouge_scores(cases: list[tuple[str, list[str]]], stemmer: bool) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=stemmer)
    evaluator = Rouge(stemmer=stemmer)
    stats, metrics = whole(evaluator, cases)
    theirs = [scorer.score_multi(right, answer) for answer, right in cases]
    for mine, other in zip(stats, theirs, strict=True):
        assert mine == pytest.approx({kind: score.fmeasure for kind, score in other.items()}, **CLOSE)
    for kind, value in metrics.items():
        assert value == pytest.approx(np.mean([one[kind].fmeasure for one in theirs]), **CLOSE)


def test_rouge_says_what_it_cannot_read_or_cut() -> None:
    context: Any = Notes()
    rows = [asked("日本語です"), asked("red cat"), asked(" ")]
    found = list(Rouge().judge(rows, [Answer("日本語です"), Answer("red cat"), Answer("x", "no room")], context))
    assert [one["rouge1"] for one in found] == [0, 1, 0]
    assert context.notes == [
        "rouge: 2 of 3 rows score 0, because their references hold no a-z and no 0-9, as job.jsonl:1: evaluator=chrf"
        " reads every script"
    ]


def test_rouge_of_very_long_answers_is_bounded() -> None:
    context: Any = Notes()
    long = "word other\n" * 9_000
    [found] = Rouge().judge([asked(long)], [Answer(long[: 100_000 - 6])], context)
    assert found["rouge1"] == pytest.approx(2 * 18_180 / (18_180 + 18_000), rel=0.02)
    assert found["rougeL"] == 1
    assert context.notes == ["rouge: of 1 rows rougeL and rougeLsum compare only the first 1,000 words"]


def rectangle(cases: list[tuple[str, list[str]]]) -> tuple[list[str], list[list[str | None]]]:
    """Answers and references as sacrebleu wants them: lists by the reference's place, None where a row has fewer."""
    most = max(len(right) for _, right in cases)
    return [a for a, _ in cases], [[r[i] if i < len(r) else None for _, r in cases] for i in range(most)]


@pytest.mark.parametrize("tokenize", TOKENIZERS)
def test_bleu_is_sacrebleus_also_of_a_resample(cases: list[tuple[str, list[str]]], tokenize: str) -> None:
    from sacrebleu.metrics import BLEU

    evaluator, theirs = Bleu(tokenize=tokenize), BLEU(tokenize=tokenize, force=True)
    stats, metrics = whole(evaluator, cases)
    assert metrics["bleu"] == pytest.approx(theirs.corpus_score(*rectangle(cases)).score, **CLOSE)
    assert 1 < metrics["bleu"] < 100
    for seed in range(3):
        drawn = np.random.default_rng(seed).integers(len(cases), size=len(cases) // (1 + 20 * seed))
        other = theirs.corpus_score(*rectangle([cases[i] for i in drawn])).score
        assert resampled(evaluator, stats, drawn)["bleu"] == pytest.approx(other, **CLOSE)


@pytest.mark.parametrize("word_order", [0, 2])
def test_chrf_is_sacrebleus_also_of_a_resample(cases: list[tuple[str, list[str]]], word_order: int) -> None:
    from sacrebleu.metrics import CHRF

    evaluator, theirs = Chrf(word_order=word_order), CHRF(word_order=word_order)
    stats, metrics = whole(evaluator, cases)
    assert metrics["chrf"] == pytest.approx(theirs.corpus_score(*rectangle(cases)).score, **CLOSE)
    for seed in range(3):
        drawn = np.random.default_rng(seed).integers(len(cases), size=len(cases) // (1 + 20 * seed))
        other = theirs.corpus_score(*rectangle([cases[i] for i in drawn])).score
        assert resampled(evaluator, stats, drawn)["chrf"] == pytest.approx(other, **CLOSE)


@pytest.mark.parametrize("evaluator", [Bleu(), Chrf(), Rouge(), TokenF1()])
def test_errors_and_blank_references_are_no_points(evaluator: Any) -> None:
    for answer in (Answer("red cat", "no room"), Answer("")):
        stats = evaluator.score(asked("red cat runs far"), answer)
        assert set(evaluator.aggregate({k: np.array([v]) for k, v in stats.items()}).values()) == {0.0}
    blank = evaluator.score(asked(" \n"), Answer("red cat runs far"))
    assert set(evaluator.aggregate({k: np.array([v]) for k, v in blank.items()}).values()) == {0.0}


def test_answers_may_be_as_long_as_the_config_says() -> None:
    lm: Any = Speaker("red", Answer("", "no room", "length"))
    found = TokenF1(max_tokens=7).measure(lm, [asked("red"), asked("blue")], RUN)
    assert [one["token_f1"] for one in found] == [1, 0]
    assert lm.limits == [7]


@pytest.mark.parametrize("kind", [Bleu, Chrf, Rouge, TokenF1])
def test_answers_need_room(kind: Any) -> None:
    assert list(kind(max_tokens=0).check(RUN)) == ["max_tokens=0: needs at least 1"]


def test_wrong_settings_are_named() -> None:
    assert list(Bleu(tokenize="ja-mecab").check(RUN)) == ["tokenize=ja-mecab: needs one of 13a, intl, zh, char, none."]
    assert list(Chrf(word_order=-1).check(RUN)) == ["word_order=-1: needs a number from 0 to 4; 2 is chrF++"]
