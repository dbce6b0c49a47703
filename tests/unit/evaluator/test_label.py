"""Classes named in words: what counts as naming one, and figures that equal scikit-learn's."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from tests.unit.evaluation.heads import Fixed, labelled, settings
from tests.unit.evaluator.answers import Notes, Speaker, asked
from tuneforge.errors import ConfigError
from tuneforge.evaluation.confusion import NO_CLASS, OTHERS, confusions
from tuneforge.evaluation.measure import Cell, Measured, Place
from tuneforge.evaluation.named import Names
from tuneforge.evaluator.classification import Classification
from tuneforge.evaluator.label import Label
from tuneforge.rows import Answer, HeldOut, Row

DECISIONS = [
    "yes",
    "no",
    "maybe",
    "Refund_not_showing_up",
    "reverted_card_payment?",
    "C",
    "C++",
    "не знаю",
    "不是",
    "👍",
]
RUN: Any = None


@pytest.mark.parametrize(
    ("answer", "search", "label"),
    [
        ("yes", False, "yes"),
        (" Yes.\n", False, "yes"),
        ("**YES**", False, "yes"),
        ("yes, because", False, None),
        ("yes, because", True, "yes"),
        ("Well, no or yes", True, "no"),
        ("know nothing", True, None),
        ("REFUND_not_showing_up", False, "Refund_not_showing_up"),
        ("reverted_card_payment", False, "reverted_card_payment?"),
        ("I use C++ here", True, "C++"),
        ("c", False, "C"),
        ("c++", False, "C++"),
        ("(C)", False, None),
        ("не  ЗНАЮ!", False, "не знаю"),
        ("答案不是这样", True, "不是"),
        ("👍", False, "👍"),
        ("so 👍!", True, "👍"),
        ("", True, None),
        ("\u200f \n", True, None),
        ("no" * 50_000, True, None),
    ],
)
def test_an_answer_names_a_class(answer: str, search: bool, label: str | None) -> None:
    found = Names(DECISIONS).named(answer, search)
    assert (None if found is None else DECISIONS[found]) == label


def test_classes_that_differ_in_case_alone_are_two() -> None:
    names = Names(["it", "IT", "other"])
    assert [names.named(text) for text in ("it", "IT", "It", "Other")] == [0, 1, None, 2]


def answered(cases: list[tuple[str, str]], **options: Any) -> tuple[Any, Any]:
    """Statistics and notes of (answer, reference) cases."""
    context: Any = Notes()
    lm: Any = Speaker(*(answer for answer, _ in cases))
    rows = [asked(right, line=i + 1) for i, (_, right) in enumerate(cases)]
    return list(Label(**options).measure(lm, rows, context)), context.notes


def arrays(stats: list[Any]) -> dict[str, Any]:
    return {name: np.array([one[name] for one in stats]) for name in stats[0]}


@pytest.mark.parametrize("seed", range(20))
def test_figures_are_scikit_learns(seed: int) -> None:
    draw = random.Random(seed)
    names = [f"class {i}" for i in range(draw.randint(2, 9))]
    true = [draw.choice(names) for _ in range(draw.randint(1, 120))]
    said = [draw.choice([one, draw.choice(names), "none of them"]) for one in true]
    stats, _ = answered(list(zip(said, true, strict=True)), labels=names)
    there = sorted({*true, *said} - {"none of them"})
    options: dict[str, Any] = {"labels": there, "zero_division": 0}
    wanted = {
        "accuracy": sk.accuracy_score(true, said),
        "macro_f1": sk.f1_score(true, said, average="macro", **options),
        "micro_f1": sk.f1_score(true, said, average="micro", **options),
        "macro_precision": sk.precision_score(true, said, average="macro", **options),
        "macro_recall": sk.recall_score(true, said, average="macro", **options),
        "off_label": sum(one == "none of them" for one in said) / len(said),
    }
    assert Label().aggregate(arrays(stats)) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_a_class_that_is_never_answered_is_said() -> None:
    stats, notes = answered([("a", "a"), ("a", "b"), ("a", "c"), ("", "a")])
    assert notes == [
        "label of tuned: in 4 rows 2 of 3 classes are never answered, as 'b': their precision is undefined, and it and"
        " their F1 count as 0"
    ]
    found = Label().aggregate(arrays(stats))
    assert found["macro_f1"] == pytest.approx(2 * 1 / (3 + 2) / 3)
    assert found["off_label"] == 0.25


def test_errors_several_references_and_training_labels() -> None:
    context: Any = Notes()
    context.train = [asked("a"), asked("a"), asked("unseen"), asked("unseen")]
    rows = [asked("a"), asked("b", "a"), asked("b")]
    answers = [Answer("a", "no room"), Answer("a"), Answer("unseen")]
    stats = list(Label().judge([*rows, asked(" ", "b")], [*answers, Answer("b")], context))
    assert [one["accuracy"] for one in stats] == [0, 1, 0, 1]
    assert [one["off_label"] for one in stats] == [1, 0, 0, 0], "a class of the training rows is a wrong class"
    context.train = [asked(str(i)) for i in range(9)]
    assert list(Label().classes(rows, context)) == ["a", "b", NO_CLASS]
    assert context.notes == ["label: answers of the training rows are no names of classes; those of the sets are"]


def test_several_sets_share_their_classes() -> None:
    """What is counted together must be numbered alike."""
    context: Any = Notes()
    first, second = [asked("a"), asked("c")], [asked("b"), asked("c")]
    context.held_out = [HeldOut("one", "test", "target", first), HeldOut("two", "test", "target", second)]
    found = [one for rows in (first, second) for one in Label().judge(rows, [Answer("c"), Answer("c")], context)]
    assert Label().aggregate(arrays(found))["macro_recall"] == pytest.approx(1 / 3)
    assert list(Label().classes(first, context)) == list(Label().classes(second, context)) == ["a", "b", "c", NO_CLASS]
    assert list(Label(sets=["one"]).classes(first, context)) == ["a", "c", NO_CLASS]
    free = [asked(f"text {i}") for i in range(150)]
    with pytest.raises(
        ConfigError, match="150 different references in 150 rows are no names of classes; name the sets"
    ):
        Label().classes(free, Notes())  # type: ignore[arg-type]


def test_no_answer_is_cut_that_could_be_right() -> None:
    lm: Any = Speaker("yes", "maybe")
    context: Any = Notes()
    list(Label().measure(lm, [asked("yes"), asked("maybe")], context))
    list(Label(search=True).measure(lm, [asked("yes"), asked("maybe")], context))
    assert lm.limits == [5 + 8, 256]


def test_wrong_labels_are_named() -> None:
    assert list(Label(labels=["yes"]).check(RUN)) == ["labels: at least two are needed"]
    assert list(Label(labels=["yes", "Yes "]).check(RUN)) == ["labels: 'yes' stands twice"]
    assert list(Label(labels=["yes", "no"]).check(RUN)) == list(Label().check(RUN)) == []
    with pytest.raises(
        ConfigError, match=r"job.jsonl:2: the reference 'mabye' is none of yes, maybe. Did you mean 'maybe'"
    ):
        answered([("yes", "yes"), ("yes", "mabye")], labels=["yes", "maybe"])
    with pytest.raises(ConfigError, match="the reference '' is none of yes"):
        answered([("yes", "yes"), ("yes", " ")])


# ---------------------------------------------------------------- classification heads, and the matrix


@pytest.mark.parametrize("seed", range(10))
def test_precision_and_recall_of_a_head_are_scikit_learns(seed: int) -> None:
    draw = np.random.default_rng(seed)
    names = [f"c{i}" for i in range(6)]
    true, scores = draw.integers(5, size=40), draw.random((40, 6)) ** 3
    scores[:, 2] = 0
    context: Any = settings(names)
    stats = list(Classification().measure(Fixed(predict=scores), labelled([names[i] for i in true]), context))
    found = Classification().aggregate(arrays(stats))
    said = scores.argmax(1)
    for metric, score in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        wanted = score(true, said, average="macro", zero_division=0)
        assert found[f"macro_{metric}"] == pytest.approx(wanted, rel=1e-9)
    assert "never predicted: 1, whose precision is undefined and counts as 0" in context.notes[0]["text"]


@pytest.mark.parametrize("several", [False, True])
def test_averages_of_several_classes_per_row_are_scikit_learns(several: bool) -> None:
    draw = np.random.default_rng(5)
    names = [f"c{i}" for i in range(60)]
    true, scores = draw.random((80, 60)) < 0.03, draw.random((80, 60)) ** (9 if several else 300)
    rows = labelled([[n for n, there in zip(names, one, strict=True) if there] for one in true])
    stats = list(Classification().measure(Fixed(predict=scores), rows, settings(names)))
    found = Classification().aggregate(arrays(stats))
    said = scores > 0.5
    there = np.flatnonzero((said | true).any(0))
    for metric, score in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        wanted = score(true, said, average="macro", labels=there, zero_division=0)
        assert found[f"macro_{metric}"] == pytest.approx(wanted, rel=1e-9)


def measured(names: list[str], said: list[int], true: list[int]) -> tuple[Measured, Any]:
    """One variant of a head on one set."""
    place, rows = Place("classification", "test", "job"), [Row(columns={"text": str(i)}) for i in range(len(true))]
    stats = {"predicted": np.array(said, dtype=float), "true": np.array(true, dtype=float)}
    cells = {(place, "tuned"): Cell(stats, [str(i) for i in range(len(true))])}
    return Measured(evaluators={"classification": Classification()}, rows={place: rows}, cells=cells), SimpleNamespace(
        labels=names
    )


def test_the_matrix_is_scikit_learns() -> None:
    draw = np.random.default_rng(1)
    said, true = draw.integers(7, size=200), draw.integers(6, size=200)
    [found] = confusions(*measured([f"c{i}" for i in range(9)], said.tolist(), true.tolist()))
    assert found["labels"] == [f"c{i}" for i in range(7)]
    assert found["counts"] == sk.confusion_matrix(true, said, labels=range(7)).tolist()
    assert {k: found[k] for k in ("evaluator", "set", "split", "model")} == {
        "evaluator": "classification", "set": "job", "split": "test", "model": "tuned",
    }  # fmt: skip
    report = sk.classification_report(true, said, output_dict=True, zero_division=0)
    for i, one in enumerate(found["classes"]):
        mine = (one["precision"], one["recall"] or 0.0, one["f1"], one["rows"])
        assert mine == pytest.approx(tuple(report[str(i)].values())), one
    assert found["classes"][6]["recall"] is None, "it stands in no row"


def test_a_matrix_of_many_classes_pools_the_rarest() -> None:
    true = [i for i in range(40) for _ in range(50 - i)]
    [found] = confusions(*measured([f"c{i}" for i in range(40)], [0] * len(true), true))
    assert found["labels"] == [*(f"c{i}" for i in range(30)), OTHERS]
    assert [row[0] for row in found["counts"]] == [50 - i for i in range(30)] + [sum(50 - i for i in range(30, 40))]
    assert len(found["classes"]) == 40
    assert sum(map(sum, found["counts"])) == len(true)


def test_answers_without_a_class_have_a_column_and_other_evaluators_no_matrix() -> None:
    stats, _ = answered([("a", "a"), ("x", "b"), ("b", "b")])
    place = Place("label", "test", "job")
    cells = {(place, "tuned"): Cell(arrays(stats), ["0", "1", "2"])}
    rows = {place: [asked("a"), asked("b"), asked("b")]}
    context: Any = Notes()
    [found] = confusions(Measured(evaluators={"label": Label()}, rows=rows, cells=cells), context)
    assert found["labels"] == ["a", "b", NO_CLASS]
    assert found["counts"] == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert [one["label"] for one in found["classes"]] == ["a", "b"]
