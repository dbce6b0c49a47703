"""The tables of the page: every number, every row, what got better and worse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.report import runs
from tests.unit.report.test_report import Page, report, words
from tuneforge.report import answers, charts, every_row, numbers, table
from tuneforge.report.html import write_report


def test_what_got_better_and_worse_against_what_has_to_be_beaten() -> None:
    found = dict(numbers.changes(runs.metrics()))
    assert found["better"] == [
        "exact_match on test +.41 [+.36,+.46]",
        "perplexity.bits_per_byte on test -.66 [-.71,-.61] to base",
    ]
    assert found["not proven"] == [
        "exact_match on general -.03 [-.06,+.00] to base",
        "refusal on safe<b> -.01 [-.04,+.02] to base",
    ]
    assert "worse" not in found
    nothing = runs.metrics()
    nothing["rows"] = [r | dict.fromkeys(("value", "low", "high")) for r in nothing["rows"] if r["set"] == "general"]
    assert numbers.changes(nothing) == [("not proven", ["exact_match on general: no number"])]
    nothing["rows"].append(runs.metric("tuned", 0.5, 0.4, 0.6, role="general", set="general"))
    assert numbers.changes(nothing) == [], "the base has no number that the tuned model has"


def test_the_page_compares_with_whom_the_verdict_was_reached_against(tmp_path: Path) -> None:
    # gate.against=base, and an earlier run beside it: neither the prompt nor that run decides.
    metrics = runs.metrics()
    general = {"role": "general", "set": "general", "n": 300}
    metrics["rows"] += [runs.metric("earlier", 0.9, 0.8, 0.95, **general)]
    metrics["rows"] += [runs.metric("tuned", -0.2, -0.3, -0.1, "earlier", **general)]
    metrics["verdict"]["primary"] = runs.metric("tuned", 0.78, 0.74, 0.82, "base")
    found = dict(numbers.changes(metrics))
    assert found["better"][0] == "exact_match on test +.78 [+.74,+.82]"
    assert found["not proven"][0] == "exact_match on general -.03 [-.06,+.00]"
    target, general_, _ = charts.panels(metrics)
    assert (target.difference, general_.difference[:12]) == ("tuned - base  +.78 [+.74,+.82]", "tuned - base")
    scores = {"base": {"exact_match.exact_match": 1}, "earlier": {"exact_match.exact_match": 0}}
    sample = {"split": "test", "set": "general", "role": "general", "id": "1", "answers": {}}
    scores["tuned"] = scores["earlier"]
    role = answers.scored([sample | {"scores": scores}], metrics, "general")
    assert role is not None
    assert answers.change(role, role.rows[0][1]) == "newly wrong"
    lacking = {name: numbers for name, numbers in scores.items() if name != "base"}
    first = [sample | {"scores": lacking}, sample | {"scores": scores}]
    role = answers.scored(first, metrics, "general")
    assert role is not None
    assert (role.rival, len(role.rows)) == ("base", 1), "though it has no score of the first row"


@pytest.mark.parametrize(
    ("low", "high", "higher", "expected"),
    [
        (0.1, 0.2, True, "better"),
        (0.1, 0.2, False, "worse"),
        (-0.2, -0.1, True, "worse"),
        (-0.2, -0.1, False, "better"),
        (-0.1, 0.2, True, "not proven"),
        (0.0, 0.2, True, "not proven"),
        (None, None, True, "not proven"),
    ],
)
def test_what_an_interval_proves(low: float | None, high: float | None, higher: bool, expected: str) -> None:
    assert numbers.means({"low": low, "high": high, "higher_is_better": higher}) == expected


def test_answers_are_ordered_by_the_first_metric_and_counted_where_there_are_numbers() -> None:
    metrics = runs.metrics()
    judged = {"role": "target", "set": "test", "evaluator": "judge"}
    won = [
        runs.metric(who, value, 0.1, 0.9) | judged | {"metric": "win_rate"}
        for who, value in (("base", 0.5), ("tuned", 1))
    ]
    agreed = [
        runs.metric(who, 0.9, 0.8, 1.0) | judged | {"metric": "consistency", "n": n}
        for who, n in (("base", 0), ("tuned", 40))
    ]
    other = runs.metric("tuned", 0.1, 0.0, 0.2) | judged | {"evaluator": "rubric", "metric": "consistency", "n": 7}
    metrics["rows"] = [*won, *agreed, other]
    metrics["verdict"] = {"primary": won[1]}
    scores = {
        "base": {"judge.consistency": 0.2, "judge.win_rate": 0.5},
        "tuned": {"judge.consistency": 0, "judge.win_rate": 1.0},
    }
    sample = {"split": "test", "set": "test", "role": "target", "id": "1", "answers": {}, "scores": scores}
    role = answers.scored([sample], metrics, "target")
    assert role is not None
    assert (role.unit, role.rows[0][1]) == ("win_rate", {"base": 0.5, "tuned": 1.0})
    lines = [line[1:3] for line in table._lines(metrics, ["base", "tuned"])]
    assert lines[1:] == [["judge.consistency", "n=40"], ["rubric.consistency", "n=7"]]


def test_p_values_have_columns_where_they_exist(tmp_path: Path) -> None:
    runs.whole(tmp_path)
    assert "adjusted" not in words(report(tmp_path))
    metrics = runs.metrics()
    for row in metrics["rows"]:
        row |= {"p": 0.00002 if row["versus"] else None, "p_adjusted": 0.031 if row["versus"] else None,
                "detectable": 0.07 if row["versus"] else None}  # fmt: skip
    text = words(report(runs.write(tmp_path, {"metrics.json": metrics})))
    assert "better<.001.031.07500higher" in text
    assert "the smallest difference that these rows find with 80 % power" in text


def test_every_row_those_that_changed_first(tmp_path: Path) -> None:
    lines = [runs.sample(1, "target", 1, 1), runs.sample(2, "target", 0, 0), runs.sample(3, "target", 0, 1),
             runs.sample(4, "target", 1, 0), runs.sample(5, "general", 1, 0), runs.sample(6, "odd", 1, 0)]  # fmt: skip
    found = every_row.every_row(lines, runs.metrics())
    assert [line.place.split(":")[1] for line in found.lines] == ["4", "5", "3", "2", "1"]
    assert found.variants == ["base", "prompted", "tuned"]
    assert [score for _, score in found.lines[0].answers] == ["1.00", "1.00", ".00"]
    assert found.lines[1].answers[1] == ("", ""), "a prompt is measured on target sets only"


def test_ten_thousand_rows_and_a_megabyte_stay_a_page_that_opens(tmp_path: Path) -> None:
    lines = [runs.sample(i, "target", 0, i % 2, "x" * 1_000_000 if i == 7 else "<u>") for i in range(10_000)]
    html = write_report(runs.whole(tmp_path) and runs.write(tmp_path, {"samples.jsonl": lines}))
    assert html.stat().st_size < 2_000_000
    page = Page(html.read_text(encoding="utf-8"))
    assert "10,000 rows, those that changed first; 1,000 are shown, all stand in samples.jsonl" in words(page)
    assert "u" not in page.tags
    assert "5,000 target rows" in words(page)


def test_numbers_that_are_not_shown_are_counted(tmp_path: Path) -> None:
    runs.whole(tmp_path)
    metrics: dict[str, Any] = json.loads((tmp_path / "metrics.json").read_text())
    metrics["rows"] = metrics["rows"][:1] * 2345
    assert "345 further numbers stand in metrics.json" in words(report(runs.write(tmp_path, {"metrics.json": metrics})))
