"""Inside against outside of the training distribution."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from tests.unit.evaluation import subjects
from tests.unit.evaluator.rules import Rule, context, metrics, row
from tuneforge.errors import ConfigError
from tuneforge.evaluation.behaviour.likeness import farthest, nearest
from tuneforge.evaluation.measure import measure
from tuneforge.evaluation.tidy import rows as tidy
from tuneforge.evaluator.ood import Ood
from tuneforge.rows import HeldOut, Row
from tuneforge.settings import Run

TRAIN = [row(prompt=f"Reset the password of printer {n}", completion="ok") for n in range(30)]
LIKE = [row({"desk": "it"}, prompt=f"Reset the password of screen {n}", completion="ok") for n in range(12)]
UNLIKE = [row({"desk": "garden"}, prompt=f"Quand fleurissent les tulipes {n}", completion="ok") for n in range(4)]
KNOWS_PRINTERS = Rule(lambda asked: "ok" if "password" in asked or asked.endswith("3") else "no")


def test_the_gap_by_likeness_is_worked_out_by_hand(tmp_path: Path) -> None:
    held = context(tmp_path, TRAIN)
    evaluator = Ood()
    found = metrics(evaluator, evaluator.measure(KNOWS_PRINTERS, [*LIKE, *UNLIKE], held))
    assert found == {"gap": 0.75, "inside": 1.0, "outside": 0.25}
    assert len(held.notes) == 1
    assert "4 of 16 rows are outside; the likest training row has a mean cosine of 0.1" in held.notes[0]["text"]
    list(evaluator.measure(KNOWS_PRINTERS, [*LIKE, *UNLIKE], held))
    assert len(held.notes) == 1, "the split is told once for all variants"


def test_the_gap_by_a_kept_field(tmp_path: Path) -> None:
    evaluator = Ood(field="desk", inside=["garden"])
    found = metrics(evaluator, evaluator.measure(KNOWS_PRINTERS, [*LIKE, *UNLIKE], context(tmp_path)))
    assert found == {"gap": -0.75, "inside": 0.25, "outside": 1.0}


def test_sets_that_ask_the_same_with_other_fields_are_split_by_their_own(tmp_path: Path) -> None:
    held, evaluator = context(tmp_path), Ood(field="desk", inside=["garden"])
    for name, desks in (("test.a", ["it", "garden"]), ("test.b", ["garden", "it"])):
        rows = [replace(one, source=name, fields={"desk": d}) for one, d in zip(LIKE, desks, strict=False)]
        found = evaluator.measure(KNOWS_PRINTERS, rows, held)
        assert [math.isnan(one["outside"]) for one in found] == [d == "garden" for d in desks]


def test_an_empty_side_is_no_number_and_is_said(tmp_path: Path) -> None:
    held, evaluator = context(tmp_path), Ood(field="desk", inside=["gardn"])
    found = metrics(evaluator, evaluator.measure(KNOWS_PRINTERS, [*LIKE, *UNLIKE], held))
    assert found["outside"] == 13 / 16
    assert math.isnan(found["gap"])
    assert held.notes[0]["text"] == (
        "ood: all 16 rows are outside (desk is garden, it); there is no gap. Did you mean 'garden'?"
    )


def test_cosines_are_those_of_scikit_learn() -> None:
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+")
    both = vectorizer.fit_transform([one.columns["prompt"] for one in [*TRAIN, *LIKE, *UNLIKE]])
    there, here = both[:30], both[30:]
    assert nearest([*LIKE, *UNLIKE], TRAIN, 0) == pytest.approx(cosine_similarity(here, there).max(axis=1), abs=1e-9)
    assert nearest(LIKE, [row(prompt="?!", completion="x")], 0).tolist() == [0.0] * 12
    assert nearest([row(prompt="...")], [row(prompt="?!")], 0).tolist() == [0.0]
    assert farthest(np.array([0.5, 0.1, 0.5, 0.1, 0.9]), 0.4) == [1, 3]


def test_each_side_has_an_interval_of_its_own_rows_and_the_gap_one_of_both(tmp_path: Path) -> None:
    made = Run(strategy=subjects.Sft())
    held = subjects.context(made, tmp_path)
    held.train = TRAIN
    rows: list[Row] = [*LIKE, *UNLIKE]
    measured = measure(made, {"base": KNOWS_PRINTERS}, [HeldOut("job", "test", "target", rows)], {"ood": Ood()}, held)
    found = {one["metric"]: one for one in tidy(made, measured)}
    assert (found["inside"]["n"], found["outside"]["n"], found["gap"]["n"]) == (12, 4, 16)
    assert found["inside"]["low"] == pytest.approx(0.7575, abs=1e-3)  # Wilson's for 12 of 12
    assert found["gap"]["low"] < 0.75 < found["gap"]["high"]


def test_wrong_configs() -> None:
    run = Run(strategy=subjects.Sft())
    assert next(iter(Ood(field="desk").check(run))).startswith("field=desk, inside=[]: a field needs values")
    assert next(iter(Ood(share=1.0).check(run))) == "share=1.0: must be above 0 and below 1"
    assert "Did you mean 'exact_match'?" in next(iter(Ood(evaluator="exact_mach").check(run)))
    assert "score of its own" in next(iter(Ood(evaluator="ood").check(run)))
    assert "bits_per_byte is better when lower" in next(iter(Ood(evaluator="perplexity").check(run)))


def test_without_training_rows_a_field_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there are no training rows to be like; name a field"):
        Ood().measure(KNOWS_PRINTERS, LIKE, context(tmp_path))
