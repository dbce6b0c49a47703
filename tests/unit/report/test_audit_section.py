"""The report's section "Data audit": order, figures, bars, words to type, and no text from data out of its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.report import runs
from tests.unit.report.test_report import Page, report, words
from tuneforge.report import audit
from tuneforge.report.files import read
from tuneforge.report.ticks import ticks


def finding(check: str, severity: str, **more: Any) -> dict[str, Any]:
    return {"check": check, "severity": severity, "text": f"{check} says so", "count": 3, "of": 1200, "action": "",
            "rows": [], "numbers": {}, "bars": []} | more  # fmt: skip


def audited(folder: Path, *found: dict[str, Any], text: str = "x") -> Path:
    runs.whole(folder, text)
    path = folder / "data" / "audit.json"
    content = json.loads(path.read_text()) | {"findings": list(found), "seconds": {"fit": 1.5, "bias": 0.6}}
    path.write_text(json.dumps(content))
    return folder


def test_findings_stand_worst_first_with_count_action_rows_and_bars(tmp_path: Path) -> None:
    rows = [{"place": "a.jsonl:7", "text": "the row"}]
    page = report(
        audited(
            tmp_path,
            finding("lengths", "ok", bars=[["1 word", 2], ["2 words", 8]], numbers={"median": 2.0, "d": 0.1234}),
            finding("formats", "warning", action="Leave them out with +transform=length.", rows=rows),
            finding("fit", "error", count=700),
        )
    )  # fmt: skip
    said = words(page)
    section = said[said.index("Data audit") : said.index("What is trained")]
    places = [section.index(part) for part in ("error fit", "700 of 1,200", "warning formats", "a.jsonl:7", "lengths")]
    assert places == sorted(places)
    assert "1 finding with nothing to mend · all checks took 2.1 s" in section
    assert "median 2 · d 0.123" in section
    assert ("class", "bars") in page.attributes
    assert [v for k, v in page.attributes if k == "width" and v in ("75.0", "300.0")] == ["75.0", "300.0"]


def test_no_section_without_findings(tmp_path: Path) -> None:
    assert "Data audit" not in words(report(audited(tmp_path)))


def test_text_from_data_stays_text(tmp_path: Path) -> None:
    nasty = finding(
        runs.NASTY, "warning", text=runs.NASTY, action=f"`{runs.NASTY}`", bars=[[runs.NASTY, 1]],
        rows=[{"place": runs.NASTY, "text": runs.NASTY}], numbers={runs.NASTY: 1.0},
    )  # fmt: skip
    page = report(audited(tmp_path, nasty))
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "http" not in html.replace("Content-Security-Policy", "").replace("http-equiv", "").split("Data audit")[1]


@pytest.mark.parametrize(
    ("action", "typed"),
    [
        ("Leave them out with +transform=near_dedup.", ["+transform=near_dedup"]),
        ("Use `strategy=clm`, or max_quarantined=0.38; else nothing.", ["strategy=clm", "max_quarantined=0.38"]),
        (
            "Give test.a.role=general or audit.fail_on=[leakage,fit].",
            ["test.a.role=general", "audit.fail_on=[leakage,fit]"],
        ),
        ("Remove it: '~data.replay' is not an assignment.", []),
        ("Read some of them.", []),
    ],
)
def test_words_to_type(action: str, typed: list[str]) -> None:
    parts = audit.stretches(action)
    assert [text for text, code in parts if code] == typed
    assert "".join(text for text, _ in parts) == action.replace("`", "")


def test_many_bars_are_cut_and_it_is_said(tmp_path: Path) -> None:
    found = finding("classes", "info", bars=[[f"class {n}", n] for n in range(77)])
    shown = audit.findings(read(audited(tmp_path, found)))[0]
    assert (len(shown.bars), shown.beyond) == (24, 53)
    assert "and 53 more" in words(Page(report(tmp_path) and (tmp_path / "report.html").read_text(encoding="utf-8")))


@pytest.mark.parametrize(("severity", "state"), [("error", "wrong"), ("ok", "right"), ("info", "right")])
def test_the_tick_of_leakage_agrees_with_the_finding(severity: str, state: str, tmp_path: Path) -> None:
    run = read(audited(tmp_path, finding("leakage", severity)))
    assert next(t for t in ticks(run) if t.name == "Leakage").state == state
