"""Evaluators of models with a head: what each row counts, and the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.evaluation.heads import Fixed, labelled, made, pair_rows, settings, tagged_rows
from tuneforge.components import Evaluator
from tuneforge.errors import ConfigError
from tuneforge.evaluator.classification import Classification
from tuneforge.evaluator.retrieval import Retrieval
from tuneforge.evaluator.span_f1 import Reading, SpanF1, spans, strict_spans
from tuneforge.evaluator.tag_accuracy import TagAccuracy


def whole(evaluator: Evaluator, lm: Any, rows: Any, labels: list[str]) -> Any:
    stats = list(evaluator.measure(lm, rows, settings(labels)))
    return evaluator.aggregate({name: np.array([one[name] for one in stats]) for name in stats[0]})


def test_classes_by_hand() -> None:
    lm = Fixed(predict=np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]))
    found = whole(Classification(), lm, labelled(["a", "b", "b"]), ["a", "b"])
    assert found == pytest.approx(
        {"accuracy": 2 / 3, "macro_f1": 2 / 3, "micro_f1": 2 / 3, "macro_precision": 3 / 4, "macro_recall": 3 / 4}
    )


def test_several_classes_by_hand() -> None:
    lm = Fixed(predict=np.array([[0.9, 0.6], [0.2, 0.4]]))
    rows = labelled([["a"], []])
    found = whole(Classification(), lm, rows, ["a", "b"])
    assert found == pytest.approx(
        {"accuracy": 0.5, "macro_f1": 0.5, "micro_f1": 2 / 3, "macro_precision": 0.5, "macro_recall": 0.5}
    )
    assert whole(Classification(threshold=0.7), lm, rows, ["a", "b"])["accuracy"] == 1.0


def test_recall_by_class_is_scikit_learns() -> None:
    from sklearn.metrics import recall_score

    draw = np.random.default_rng(0)
    names = [f"c{i}" for i in range(5)]
    true, scores = draw.integers(4, size=60), draw.random((60, 5))
    context: Any = settings(names)
    list(Classification().measure(Fixed(predict=scores), labelled([names[i] for i in true]), context))
    wanted = recall_score(true, scores.argmax(1), average=None, labels=range(4), zero_division=0)
    note = context.notes[0]
    assert [note[f"recall.{name}"] for name in names[:4]] == pytest.approx(wanted.tolist())
    assert "recall.c4" not in note, "it stands in no row"
    assert note["text"].startswith(f"fixed: recall by class from {wanted.min():.2f} (c{wanted.argmin()}) to ")
    same: Any = settings(names)
    list(Classification().measure(Fixed(predict=np.eye(5)[[0] * 60]), labelled([names[i] for i in true]), same))
    assert same.notes == [], "a rule that always says the same"
    list(Classification().measure(Fixed(predict=scores), labelled([[]] * 60), same))
    assert same.notes == []


@pytest.mark.parametrize("dense", [0.05, 1.0])
def test_rows_of_many_classes_are_counted_beyond_a_byte(dense: float) -> None:
    """600 rows that all have a class are more than a byte counts, and 77 classes more than one word holds."""
    draw = np.random.default_rng(0)
    true, given = (draw.random((600, 77)) < dense for _ in range(2))
    names = [f"c{i:02}" for i in range(77)]
    rows = labelled([[name for name, here in zip(names, row, strict=True) if here] for row in true])
    stats = list(Classification().measure(Fixed(predict=given.astype(float)), rows, settings(names)))
    arrays = {name: np.array([one[name] for one in stats]) for name in stats[0]}
    both = 2 * (true & given).sum(0) / np.maximum(true.sum(0) + given.sum(0), 1)
    found = Classification().aggregate(arrays)
    assert found["macro_f1"] == pytest.approx(both.mean())
    assert found["micro_f1"] == pytest.approx(2 * (true & given).sum() / (true.sum() + given.sum()))


def test_a_class_of_the_rows_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"job\.jsonl:1: the model has no class 'c'"):
        whole(Classification(), Fixed(predict=np.array([[1.0, 0.0]])), labelled(["c"]), ["a", "b"])


def test_entities_by_hand() -> None:
    tags = ["B-x", "I-x", "O", "I-y", "I-x", "B-x", "B-x"]
    assert spans(tags) == [("x", 0, 1), ("y", 3, 3), ("x", 4, 4), ("x", 5, 5), ("x", 6, 6)]
    assert strict_spans(tags) == [("x", 0, 1), ("x", 5, 5), ("x", 6, 6)]
    rows = tagged_rows([["B-x", "I-x", "O"], ["O", "O", "O"]])
    lm = Fixed(tag=[["B-x", "O", "O"], ["O", "O", "O"]])
    assert whole(SpanF1(), lm, rows, []) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    assert whole(TagAccuracy(), lm, rows, []) == {"tag_accuracy": pytest.approx(5 / 6)}
    right = Fixed(tag=[["I-x", "I-x", "O"], ["O", "O", "O"]])
    assert whole(SpanF1(), right, rows, [])["f1"] == 1.0
    assert whole(SpanF1(reading=Reading.strict), right, rows, [])["f1"] == 0.0


def test_tags_that_mark_no_spans_do_not_suit() -> None:
    assert SpanF1().unsuited(tagged_rows([["NOUN", "VERB"]])).startswith("no tag begins with B-")
    assert SpanF1().unsuited(tagged_rows([["O", "B-x"]])) == ""


def test_ranks_by_hand() -> None:
    vectors = {"q1": [1, 0], "q2": [0, 1], "a1": [1, 0.1], "a2": [1, 0.2]}
    stats = list(Retrieval().measure(Fixed(embed=vectors), pair_rows([("q1", "a1"), ("q2", "a1")]), settings([])))
    assert [s["mrr"] for s in stats] == [1.0, 1.0]
    rows = pair_rows([("q1", "a1"), ("q1", "a2"), ("q2", "a1")])
    found = whole(Retrieval(), Fixed(embed=vectors), rows, [])
    assert found["mrr"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert found["accuracy_at_1"] == pytest.approx(2 / 3)
    assert found["ndcg_at_10"] == pytest.approx((1 + 1 + 1 / np.log2(3)) / 3)


@pytest.mark.parametrize("seed", range(5))
def test_ranks_are_scikit_learns(seed: int) -> None:
    """Several right texts, more than ten of them, and sets smaller and larger than the ten that count."""
    from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

    draw = np.random.default_rng(seed)
    questions, answers = [f"q{i}" for i in range(8)], [f"a{i}" for i in range((5, 10, 11, 40, 200)[seed])]
    vectors = {text: draw.normal(size=6) for text in questions + answers}
    rows = pair_rows(
        [
            (q, a)
            for q in questions
            for a in draw.choice(answers, draw.integers(1, min(len(answers), 15)), replace=False)
        ]
    )
    stats = list(Retrieval().measure(Fixed(embed=vectors), rows, settings([])))
    candidates = list(dict.fromkeys(row.columns["positive"] for row in rows))
    for row, mine in zip(rows, stats, strict=True):
        right = {r.columns["positive"] for r in rows if r.columns["anchor"] == row.columns["anchor"]}
        scores = np.array([[vectors[row.columns["anchor"]] @ vectors[text] for text in candidates]])
        true = np.array([[float(text in right) for text in candidates]])
        ranked = [candidates[i] in right for i in np.argsort(-scores[0])]
        assert mine["ndcg_at_10"] == pytest.approx(ndcg_score(true, scores, k=10), rel=1e-9)
        assert mine["recall_at_10"] == pytest.approx(sum(ranked[:10]) / len(right), rel=1e-9)
        assert mine["mrr"] == pytest.approx(1 / (ranked.index(True) + 1), rel=1e-9)
        if len(right) == 1:
            assert mine["mrr"] == pytest.approx(label_ranking_average_precision_score(true, scores), rel=1e-9)


def test_vectors_that_are_all_alike_find_nothing() -> None:
    rows = pair_rows([(f"q{i}", f"a{i}") for i in range(4)])
    same = {text: [1.0, 1.0] for i in range(4) for text in (f"q{i}", f"a{i}")}
    found = whole(Retrieval(), Fixed(embed=same), rows, [])
    assert found["accuracy_at_1"] == 0.0
    assert found["mrr"] == 0.25


def test_negatives_are_candidates_too() -> None:
    rows = [made({"anchor": "q", "positive": "a", "negative": "n"}, 1), made({"anchor": "q2", "positive": "b"}, 2)]
    vectors = {"q": [1, 0], "q2": [0, 1], "a": [1, 1], "b": [0, 1], "n": [1, 0]}
    assert next(iter(Retrieval().measure(Fixed(embed=vectors), rows, settings([]))))["mrr"] == 0.5
    assert Retrieval().unsuited(pair_rows([("q", "a"), ("p", "a")])) == "all rows have the same positive"
