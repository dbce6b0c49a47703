"""The learning curve in the report of a program."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.report.runs import NASTY
from tuneforge.evaluation.learning_curve import Point, fit
from tuneforge.report import learning
from tuneforge.report.html import write_report


def program(better: bool = True) -> dict[str, Any]:
    points = [Point(n, v, v - 0.03, v + 0.03) for n, v in ((125, 0.4), (250, 0.55), (500, 0.62), (1000, 0.66))]
    curve = fit(points, better)
    wrong = [{"kind": "still wrong", "place": "t.jsonl:1", "text": NASTY}]
    piece = {"name": NASTY, "n": 40, "tuned": 0.2, "test_share": 0.2, "train_share": 0.01, "weak": True,
             "verdict": "coverage", "examples": wrong}  # fmt: skip
    facts = {"schema": 1, "program": "data_curve", "decision": "other data", "text": f"flat {NASTY}"}
    lines = {"points": [p._asdict() for p in curve.points], "line": [p._asdict() for p in curve.line]}
    return facts | lines | {"metric": "accuracy", "set": "test", "higher_is_better": better, "slices": [piece]}


def test_marks_stand_on_a_logarithmic_scale_and_the_band_holds_the_line() -> None:
    plot = learning.plot(program())
    assert plot is not None
    gaps = [b.x - a.x for a, b in zip(plot.marks, plot.marks[1:], strict=False)]
    assert gaps == pytest.approx([gaps[0]] * 3, abs=0.2)
    assert plot.now == plot.marks[-1].x
    assert all(mark.high < mark.y < mark.low for mark in plot.marks), "up is better, and SVG counts downwards"
    assert [label for _, label in plot.x] == ["125", "250", "500", "1,000", "2,000", "4,000"]
    line = [tuple(map(float, p.split(","))) for p in plot.line.split()]
    band = [tuple(map(float, p.split(","))) for p in plot.band.split()]
    assert len(band) == 2 * len(line)
    assert all(high[1] <= y <= low[1] for (_, y), high, low in zip(line, band, band[::-1], strict=False))
    assert all(0 <= x <= plot.width and 0 <= y <= plot.height for x, y in (*line, *band))


def test_no_curve_no_plot() -> None:
    assert learning.plot({}) is None
    assert learning.plot({"points": [], "line": []}) is None


def test_the_page_of_a_program_shows_its_word_and_escapes_data(tmp_path: Path) -> None:
    stage = {"name": "0.5", "folder": "run/stages/1-0.5", "status": "finished", "exit_code": 0}
    record = {"schema": 1, "run": {"name": "x"}, "status": "finished", "program": "data_curve", "stages": [stage]}
    for name, content in (("run.json", record), ("program.json", program())):
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert re.search(r"<strong>other data</strong>", page)
    assert "Learning curve" in page
    assert "run/stages/1-0.5" in page
    assert "weak" in page
    assert "thin" in page
    assert page.count("<script") == 1
    assert "Is it right?" not in page, "a program proves nothing itself; its stages do"
