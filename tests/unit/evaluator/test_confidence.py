"""Calibration against torchmetrics and scikit-learn; selective answers keep what they promise."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import optimize, special
from scipy.stats import binom, binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from tests.unit.evaluation import subjects
from tuneforge.errors import ConfigError
from tuneforge.evaluation.confidence import Scored, kind, scored, temperature
from tuneforge.evaluation.curve_data import curves
from tuneforge.evaluation.guarantee import least_rows, threshold, upper
from tuneforge.evaluation.measure import measure
from tuneforge.evaluation.tidy import rows as tidy_rows
from tuneforge.evaluator.calibration import Calibration, _ece, _mass
from tuneforge.evaluator.exact_match import ExactMatch
from tuneforge.evaluator.selective import Selective
from tuneforge.rows import Answer, HeldOut, Row

LABELS = ("a", "b", "c")


def texts(n: int, seed: int = 0, group: int = 0) -> list[Row]:
    """Texts that hold the logits of three classes, twice as sure as they should be."""
    rng, made = np.random.default_rng(seed), []
    for i in range(n):
        logits = rng.normal(0, 1.5, 3)
        true = LABELS[rng.choice(3, p=special.softmax(logits))]
        text = " ".join(f"{x:.12f}" for x in 2 * logits)
        made.append(replace(subjects.row(text=text, label=true), group=str(i // group) if group else ""))
    return made


class Head:
    """An LM whose class probabilities, answers and log-probabilities stand in the rows."""

    variant = "base"

    def predict(self, rows: list[Row]) -> Any:
        return special.softmax([[float(x) for x in row.columns["text"].split()] for row in rows], axis=1)

    def log_probs(self, rows: list[Row], column: str) -> Any:
        return np.array([(-float(len(row.columns[column])), 1.0, 1.0) for row in rows])

    def generate(self, rows: list[Row], max_tokens: int) -> list[Answer]:
        return [Answer(*row.columns["prompt"].split("|")[:1], tokens=3, log_prob=math.log(0.5)) for row in rows]


class Context:
    labels = LABELS
    seed = 3

    def __init__(self, *held_out: HeldOut) -> None:
        self.held_out = held_out
        self.notes: list[str] = []
        self.numbers: dict[str, float] = {}

    def note(self, text: str, **numbers: float) -> None:
        self.notes.append(text)
        self.numbers |= numbers

    def evaluator(self, name: str) -> Any:
        return {"exact_match": ExactMatch()}[name]


def arrays(evaluator: Any, lm: Any, rows: list[Row], context: Any) -> dict[str, Any]:
    found = list(evaluator.measure(lm, rows, context))
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def test_errors_of_calibration_equal_torchmetrics_and_scikit_learn() -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    rows = texts(400)
    validation = HeldOut("v", "validation", "target", texts(300, seed=1))
    stats = arrays(Calibration(), Head(), rows, Context(validation))
    found = Calibration().aggregate(stats)
    shares = torch.tensor(Head().predict(rows), dtype=torch.float64)
    true = torch.tensor([LABELS.index(row.columns["label"]) for row in rows])
    expected = multiclass_calibration_error(shares, true, num_classes=3, n_bins=15, norm="l1")
    assert found["ece"] == pytest.approx(float(expected), abs=1e-7)  # torchmetrics counts in float32
    assert found["brier"] == pytest.approx(brier_score_loss(stats["right"], stats["confidence"]), abs=1e-9)

    points = Calibration().curves(stats)["reliability"]
    right, sure = calibration_curve(stats["right"], stats["confidence"], n_bins=15)
    assert [p["y"] for p in points] == pytest.approx(list(right), abs=1e-9)
    assert [p["x"] for p in points] == pytest.approx(list(sure), abs=1e-9)
    assert sum(p["n"] for p in points) == 400
    assert found["ece"] == pytest.approx(sum(abs(right - sure) * [p["n"] for p in points]) / 400, abs=1e-9)
    wilson = binomtest(round(points[-1]["y"] * points[-1]["n"]), points[-1]["n"]).proportion_ci(method="wilson")
    assert (points[-1]["low"], points[-1]["high"]) == pytest.approx((wilson.low, wilson.high))


def test_bins_of_equal_mass_are_array_splits() -> None:
    rng = np.random.default_rng(0)
    for n in (3, 15, 16, 100):
        sure, right = rng.random(n), rng.integers(0, 2, n).astype(float)
        parts = [p for p in np.array_split(np.argsort(sure), 15) if len(p)]
        expected = sum(abs(right[p].mean() - sure[p].mean()) * len(p) for p in parts) / n
        if n % 15 in (0, n):
            assert _ece(_mass(sure), sure, right) == pytest.approx(expected, abs=1e-12)
        assert np.ptp(np.bincount(_mass(sure))) <= 1


def test_temperature_is_that_of_a_minimiser_in_float64_and_mends_the_model() -> None:
    rows, context = texts(2000), Context(HeldOut("v", "validation", "target", texts(2000, seed=1)))
    found = scored(Head(), texts(2000, seed=1), context, "")  # type: ignore[arg-type]

    def loss(x: Any) -> float:
        logs = special.log_softmax(found.scores / np.exp(x[0]), axis=1)
        return -float(logs[np.arange(2000), found.true].mean())

    best = optimize.minimize(loss, [0.0], tol=1e-12)
    assert temperature(found) == pytest.approx(math.exp(best.x[0]), rel=1e-5)
    # The texts are twice as sure as they should be.
    assert temperature(found) == pytest.approx(2, rel=0.1)
    measured = Calibration().aggregate(arrays(Calibration(), Head(), rows, context))
    assert measured["ece_scaled"] < 0.03 < measured["ece"]
    assert context.numbers["temperature"] == pytest.approx(temperature(found))


def test_without_validation_rows_a_half_is_learnt_from_and_the_other_is_measured() -> None:
    rows = texts(60, group=3)
    context = Context()
    stats = arrays(Calibration(), Head(), rows, context)
    learnt = np.isnan(stats["ece"])
    assert learnt.sum() == 30
    assert all(len({bool(learnt[i]) for i in range(g, g + 3)}) == 1 for g in range(0, 60, 3))
    assert "30 of the 60 rows, which are not measured" in context.notes[0]
    assert (np.isnan(stats["brier"]) == learnt).all()
    only = {name: values[~learnt] for name, values in stats.items()}
    assert Calibration().aggregate(stats) == Calibration().aggregate(only)
    assert sum(p["n"] for p in Calibration().curves(stats)["reliability"]) == 30
    # Validation rows that are the measured ones are no other rows.
    same = Context(HeldOut("v", "validation", "target", rows))
    assert np.isnan(arrays(Selective(), Head(), rows, same)["coverage"]).sum() == 30


def test_one_row_cannot_be_calibrated_but_is_measured() -> None:
    context = Context()
    stats = arrays(Calibration(), Head(), texts(1), context)
    assert math.isnan(stats["scaled"][0])
    assert "no temperature, as there is nothing to fit it on: 0 of the 1 rows" in context.notes[0]
    assert context.numbers == {}
    assert math.isfinite(Calibration().aggregate(stats)["ece"])
    nothing = {name: values[:0] for name, values in stats.items()}
    assert all(math.isnan(value) for value in Calibration().aggregate(nothing).values())
    assert Calibration().curves(nothing) == {"reliability": []}


def test_confidence_in_choices_and_in_generated_answers() -> None:
    one = subjects.row(prompt="q", choices=["x", "yyy"], completion="yyy")
    three = subjects.row(prompt="q", choices=["xx", "y", "z"], completion="B")
    found = scored(Head(), [one, three], Context(), "")  # type: ignore[arg-type]
    assert found.right.tolist() == [0, 1]
    expected = [special.softmax([-1, -3])[0], special.softmax([-2, -1, -1])[1]]
    assert found.confidence().tolist() == pytest.approx(expected)
    asked = [subjects.row(prompt="ok|1", completion="ok"), subjects.row(prompt="no|2", completion="ok")]
    found = scored(Head(), asked, Context(), "exact_match")  # type: ignore[arg-type]
    assert found.right.tolist() == [1, 0]
    # Three tokens and the one that ended the answer.
    assert found.confidence().tolist() == pytest.approx([0.5**0.25] * 2)


def test_what_gives_no_confidence_is_said_in_one_line() -> None:
    class Silent(Head):
        def generate(self, rows: list[Row], max_tokens: int) -> list[Answer]:
            return [Answer("a") for _ in rows]

    class Failing(Head):
        def generate(self, rows: list[Row], max_tokens: int) -> list[Answer]:
            return [Answer("", "the prompt does not fit", "length") for _ in rows]

    asked = [subjects.row(prompt="q|1", completion="ok")]
    with pytest.raises(ConfigError, match="base: it is not known how likely its answers are"):
        scored(Silent(), asked, Context(), "exact_match")  # type: ignore[arg-type]
    found = scored(Failing(), asked, Context(), "exact_match")  # type: ignore[arg-type]
    assert (found.right[0], found.confidence()[0]) == (0, pytest.approx(0, abs=1e-9))
    with pytest.raises(ConfigError, match="one kind of rows at a time, these have answer and label"):
        scored(Head(), [*asked, *texts(1)], Context(), "exact_match")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the model has no class 'z'"):
        scored(Head(), [subjects.row(text="1 2 3", label="z")], Context(), "")  # type: ignore[arg-type]
    half = SimpleNamespace(metrics=ExactMatch.metrics, measure=lambda *_: [{"exact_match": 0.3}])
    context = Context()
    context.evaluator = lambda name: half  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="evaluator=rouge judges by exact_match, which is not right or wrong"):
        scored(Head(), asked, context, "rouge")  # type: ignore[arg-type]
    assert [kind(c) for c in ({"text": "a", "label": ["x"]}, {"choices": ["a", "b"], "prompt": "q", "completion": "c"},
                              {"text": "a"})] == ["", "", ""]  # fmt: skip
    assert list(Calibration(evaluator="selective").check(subjects.run()))
    assert len(list(Selective(target_error=0, confidence=1.0).check(subjects.run()))) == 2


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    for errors, rows in ((0, 59), (3, 200), (10, 40)):
        expected = binomtest(errors, rows, alternative="less").proportion_ci(0.95, method="exact").high
        assert upper(errors, rows, 0.05) == pytest.approx(expected)
        assert binom.cdf(errors, rows, upper(errors, rows, 0.05)) == pytest.approx(0.05)
    assert upper(4, 4, 0.05) == 1
    need = least_rows(0.05, 0.05)
    sure = np.linspace(0.5, 1, need)
    assert threshold(sure, np.ones(need), 0.05, 0.05) is not None
    assert threshold(sure[1:], np.ones(need - 1), 0.05, 0.05) is None
    assert threshold(np.empty(0), np.empty(0), 0.05, 0.05) is None
    assert threshold(np.ones(1), np.ones(1), 0.05, 0.05) is None


@pytest.mark.parametrize(("sharpness", "target"), [(1.0, 0.3), (6.0, 0.1)])
def test_the_guarantee_holds_in_nineteen_of_twenty_worlds(sharpness: float, target: float) -> None:
    rng, broken, chosen = np.random.default_rng(7), 0, 0
    sure_of_all = rng.beta(sharpness, 1, 200_000)
    right_of_all = rng.random(200_000) < sure_of_all
    for _ in range(300):
        sure = rng.beta(sharpness, 1, 400)
        found = threshold(sure, (rng.random(400) < sure).astype(float), target, 0.05)
        if found is not None:
            chosen += 1
            broken += (~right_of_all[sure_of_all >= found.value]).mean() > target
    assert broken / 300 <= 0.05
    assert chosen > 200


def test_selective_counts_what_is_answered_and_says_on_what_that_rests() -> None:
    rows = texts(300)
    context = Context(HeldOut("v", "validation", "target", texts(600, seed=1)))
    evaluator = Selective(target_error=0.3)
    stats = arrays(evaluator, Head(), rows, context)
    found = evaluator.aggregate(stats)
    sure, right = stats["confidence"], stats["right"]
    answered = sure >= context.numbers["threshold"]
    assert found["coverage"] == pytest.approx(answered.mean())
    assert found["risk"] == pytest.approx(1 - right[answered].mean())
    assert 0.2 < found["coverage"] < 1
    assert (np.isnan(stats["risk"]) == ~answered).all(), "the risk is about the rows that are answered"
    order = np.argsort(-sure)
    risks = [1 - right[order[:k]].mean() for k in range(1, 301)]
    assert found["aurc"] == pytest.approx(np.mean(risks))
    assert "on 600 rows of validation.v, at most 0.3 of the answers from confidence" in context.notes[0]
    points = evaluator.curves(stats)["risk_coverage"]
    assert (len(points), points[-1]["x"], points[-1]["n"]) == (100, 1.0, 300)
    assert points[-1]["y"] == pytest.approx(1 - right.mean())
    assert all(p["low"] <= p["y"] <= p["high"] for p in points)


def test_too_few_rows_answer_nothing_and_say_how_many_it_takes() -> None:
    context = Context(HeldOut("v", "validation", "target", texts(20, seed=1)))
    found = Selective().aggregate(arrays(Selective(), Head(), texts(30), context))
    assert found["coverage"] == 0
    assert math.isnan(found["risk"])
    assert f"nothing is answered; even without any error it takes {least_rows(0.05, 0.05)} rows" in context.notes[0]


def test_equally_sure_rows_count_by_their_mean() -> None:
    stats = {"coverage": np.ones(4), "risk": np.array([1.0, 0, 0, 0]), "confidence": np.ones(4)}
    one = Selective().aggregate(stats | {"right": np.array([0.0, 1, 1, 1])})
    other = Selective().aggregate(stats | {"right": np.array([1.0, 1, 1, 0])})
    assert one == other
    assert one["aurc"] == 0.25


def test_rows_of_metrics_and_curves(tmp_path: Path) -> None:
    run = subjects.run()
    context = subjects.context(run, tmp_path)
    context.labels = LABELS
    other = Head()
    other.variant = "tuned"  # type: ignore[misc]
    sets = [HeldOut("job", "test", "target", texts(18))]
    evaluators = {"calibration": Calibration(), "selective": Selective(target_error=0.4)}
    measured = measure(run, {"base": Head(), "tuned": other}, sets, evaluators, context)  # type: ignore[dict-item]
    lines = tidy_rows(run, measured)
    assert {line["n"] for line in lines if line["metric"] != "risk"} == {9}
    assert {line["n"] for line in lines if line["metric"] == "risk"} == {0}, "nothing is answered"
    assert all(line["value"] == 0 and line["p"] == 1 for line in lines if line["versus"] and line["value"] is not None)
    found = curves(measured)
    assert [(c["evaluator"], c["model"], c["kind"]) for c in found] == [
        ("calibration", "base", "reliability"), ("calibration", "tuned", "reliability"),
        ("selective", "base", "risk_coverage"), ("selective", "tuned", "risk_coverage"),
    ]  # fmt: skip
    assert all(p.keys() == {"x", "y", "n", "low", "high"} for c in found for p in c["points"])


def test_a_question_that_cannot_be_asked_is_wrong_and_not_believed() -> None:
    class Mute(Head):
        def log_probs(self, rows: list[Row], column: str) -> Any:
            return np.zeros((len(rows), 3))  # no tokens: nothing was scored

    row = subjects.row(prompt="q", choices=["x", "yyy", "z"], completion="x")
    found = scored(Mute(), [row], Context(), "")  # type: ignore[arg-type]
    assert found.right.tolist() == [0]
    assert found.confidence()[0] < 1e-11


def test_a_missing_choice_has_no_share() -> None:
    scores = np.array([[0.0, -np.inf], [0.0, 0.0]])
    found = Scored(scores, np.zeros(2, dtype=np.intp), np.array([0, 1]))
    assert found.confidence().tolist() == [1.0, 0.5]
    assert found.confidence(3.0).tolist() == [1.0, 0.5]
