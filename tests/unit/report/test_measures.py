"""Curves, confusions and slices of metrics.json in the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.report import runs
from tests.unit.report.test_report import report, words
from tuneforge.report import confusion, diagrams, slices


def test_a_reliable_model_lies_on_the_diagonal() -> None:
    points = [{"x": x, "y": x, "n": 9, "low": x, "high": x} for x in (0.0, 0.25, 1.0)]
    curve = {"evaluator": "e", "set": "s", "split": "test", "model": "tuned", "kind": "reliability", "points": points}
    (found,) = diagrams.diagrams([curve])
    ends = [tuple(map(float, point.split(","))) for point in found.diagonal.split()]
    line = [tuple(map(float, point.split(","))) for point in found.curves[0].line.split()]
    assert [line[0], line[-1]] == ends
    assert line[1] == pytest.approx(tuple(np.array(ends[0]) + 0.25 * (np.array(ends[1]) - np.array(ends[0]))), abs=0.11)
    assert found.curves[0].marks[1].text == ".25 → .25, n = 9"


def test_curves_stay_inside_end_where_they_end_and_leave_out_what_is_no_number() -> None:
    reliability, risk = diagrams.diagrams(runs.measures()["curves"])
    assert [c.variant for c in reliability.curves] == ["tuned"], "the base has no point that is a number"
    assert len(risk.curves[0].line.split()) <= diagrams.MOST + 1
    assert [label for _, label in risk.y][-1] == ".50"
    assert risk.curves[0].line.split()[-1].startswith(f"{diagrams.WIDTH - diagrams.RIGHT}")
    for one in (reliability, risk):
        for point in one.curves[0].line.split():
            x, y = map(float, point.split(","))
            assert diagrams.LEFT <= x <= diagrams.WIDTH - diagrams.RIGHT
            assert diagrams.TOP <= y <= diagrams.HEIGHT - diagrams.BOTTOM


def test_a_large_confusion_keeps_every_row() -> None:
    made = runs.measures()["confusions"]
    tuned, base = confusion.matrices(made)
    assert (tuned.model, base.model) == ("tuned", "base")
    assert len(tuned.labels) == len(tuned.rows) == confusion.MOST + 1
    assert tuned.labels[-1] == "(all others)"
    assert tuned.left_out == 10
    assert sum(n for row in tuned.rows for n, _ in row) == np.sum(made[0]["counts"])
    assert tuned.mistakes[0][2] == 2
    small = {**made[0], "labels": ["a", "b"], "counts": [[9, 1], [0, 0]]}
    (matrix,) = confusion.matrices([small])
    assert matrix.rows == [[(9, 9), (1, 1)], [(0, 0), (0, 0)]], "a class without rows divides by nothing"


def test_weak_slices_stand_first_and_what_is_missing_is_left_empty() -> None:
    weak, other = slices.lines(runs.measures()["slices"])
    assert (weak.name, other.name) == ("refund", "others")
    assert weak.badges == [("weak", "wrong"), ("thin in training", "look")]
    assert weak.difference == "-.20 [-.30,-.10]"
    assert weak.shares == (0.08, None)
    (bare,) = slices.lines([{"name": "x"}])
    assert (bare.tuned, bare.difference, bare.badges, bare.examples, bare.shares) == ("-", "", [], [], (None, None))


def test_they_stand_in_the_page_and_labels_are_text(tmp_path: Path) -> None:
    page = report(runs.whole(tmp_path, runs.NASTY))
    text = words(page)
    for part in ("Where it is weak", "What was taken for what", "Reliability", "Risk and coverage", 'say "yes"', "שלום",
                 "precision and recall of 2 classes", "8.0 %",
                 "10 classes with fewer rows are counted together", "newly wrong test.jsonl:3"):  # fmt: skip
        assert part in text
    titles = [value for name, value in page.attributes if name == "title"]
    assert any("<script>alert(1)</script>" in str(title) for title in titles)
    assert page.tags.count("script") == 1
