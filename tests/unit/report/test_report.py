"""The report exists however a run ends, tells the truth, and lets no text from data out of its place."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import tuneforge
from tests.unit.report import runs
from tuneforge import announce
from tuneforge.preparation.transforming import TransformReport
from tuneforge.report import charts, curves
from tuneforge.report.files import read
from tuneforge.report.html import write_report
from tuneforge.report.table import result_table

VOID = ("meta", "link", "br", "img", "hr", "input", "line", "rect", "polyline")


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails where tags do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        place = self.open[-1] if self.open else ""
        if place == "script":
            self.scripts.append(data)
        elif place == "style":
            self.styles.append(data)
        elif place:
            self.text += data


def report(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def words(page: Page) -> str:
    return re.sub(r"\s+", " ", page.text)


def test_the_first_screen(tmp_path: Path) -> None:
    page = report(runs.whole(tmp_path))
    text = words(page)
    order = ("better", "gate default passed", "over the best prompt (4-shot)", "680 general rows", "planned 4 min 11 s",
             "tuned - prompted +.41 [+.36,+.46]", "budget -.05: not settled", "Newly right", "Is it right?", "Mask",
             "Stop token", "Leakage", "Dropped rows", "Truncation", "tuneforge --from outputs/")  # fmt: skip
    places = [text.index(phrase) for phrase in order]
    assert places == sorted(places)
    assert page.tags.count("svg") == 3 + 3 + 2
    assert page.tags.count("circle") == 3 + 2 + 2 + 1 + 10, "one marks the lowest validation loss"
    gap = "lowest validation loss after step 70: train 0.3538 over 50 steps, validation 0.27, gap -0.0838"
    assert f"{gap}; after step 290: train 0.07162 over 50 steps, validation 0.49, gap +0.4184" in text
    assert "steps 411, best 80, stopped early" in text
    assert "Learning rate" in text
    assert "Gradient norm before clipping" in text
    assert "2 target rows" in text
    assert "mark" in page.tags
    ticks = text[text.index("Is it right?") : text.index("Next")]
    assert ticks.count("✓") == 4
    assert ticks.count("!") == 1, "the quarantined rows want a look"


def test_gate_rules_teachers_and_the_prompts_that_were_tried(tmp_path: Path) -> None:
    runs.whole(tmp_path)
    metrics, record = runs.metrics(), json.loads((tmp_path / "run.json").read_text())
    met = {"rule": "exact_match>=0.05", "key": "require", "where": "test", "state": "met", "value": 0.41, "low": 0.36,
           "high": 0.46, "n": 500}  # fmt: skip
    unseen = {"rule": "rouge>=0 <b>", "key": "allow", "where": "", "state": "not measured", "why": "only by <i>"}
    metrics["verdict"]["rules"] = [met, unseen]
    metrics["variants"]["prompted"] |= {
        "scores": {"zero-shot": 0.04, "4-shot": None},
        "metric": "m",
        "validation_rows": 9,
    }
    record["teachers"] = {"x": {"requests": 1200, "cost": 3.5}, "y": {"requests": 34, "cost": 0}}
    text = words(report(runs.write(tmp_path, {"metrics.json": metrics, "run.json": record})))
    assert "1 not measured, 1 met: the gate's rules" in text
    assert "met gate.require exact_match>=0.05: +.41 [+.36,+.46] on test" in text
    assert "not measured gate.allow rouge>=0 <b>: only by <i>" in text
    assert "teachers 1,234 requests, 3.50 US dollars" in text
    assert "2 candidates on 9 validation rows, m" in text


def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path) -> None:
    html = write_report(runs.whole(tmp_path, runs.NASTY)).read_text(encoding="utf-8")
    page = Page(html)
    assert not {"img", "link", "iframe", "object", "base", "form", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href", "srcset")]
    assert "style" not in dict(page.attributes), "the policy would block it"
    assert "http:" not in html.replace("http-equiv", "")
    assert "https:" not in html
    assert "url(" not in html
    policy = next(v for k, v in page.attributes if k == "content" and v and "default-src 'none'" in v)
    (script,), (style,) = page.scripts, page.styles
    assert script == (Path(tuneforge.__file__).parent / "report" / "tables.js").read_text(encoding="utf-8")
    for kind, text in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy


def test_transforms_open_to_what_they_did(tmp_path: Path) -> None:
    page = report(runs.whole(tmp_path, runs.NASTY))
    shown = words(page)
    assert "train.jsonl:3: odd: <script>alert(1)</script>" in shown
    assert "4,799 rows, 4,790 after; 9 dropped (9 odd <script>" in shown
    assert "12 changed, 1 added; 0.3 s" in shown
    assert "before<script>alert(1)</script> ]]> &amp;" in shown
    assert "test.t: 5 rows, 5 after; 0 dropped, 0 changed" in shown
    assert "It found nothing to do." in shown


def test_transforms_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    did = TransformReport(
        name="normalize", before=999, after=997, reasons={"empty": 2}, examples=[], seconds=0.14, changed=200,
        counts={"white space": 153, "odd \x1b[31m [bold]": 1},
    )  # fmt: skip
    idle = TransformReport(name="dedup", before=5, after=5, reasons={}, examples=[], seconds=0.0, set="test.t")
    announce.transforms([did, idle])
    assert capsys.readouterr().out.splitlines() == [
        "  transform  normalize  999 rows: 2 dropped (2 empty), 200 changed;"
        " white space 153, odd \\x1b[31m [bold] 1  0.1 s",
        "  transform  every row left as it is by dedup on test.t",
    ]


def test_text_from_data_stays_text(tmp_path: Path) -> None:
    page = report(runs.whole(tmp_path, runs.NASTY))
    assert page.text.count("<script>alert(1)</script> ]]> &amp;") >= 8
    assert "{{ 7*7 }}" in page.text
    assert "\x1b" not in page.text
    assert page.tags.count("body") == 1


@pytest.mark.parametrize(
    ("status", "error", "files", "expected"),
    [
        ("refused", "test:3 stands in the training data <b>", ["data/audit.json"], "data refused"),
        (
            "failed",
            "no room left on the device",
            ["data/audit.json", "data/preview.jsonl", "logs/metrics.csv"],
            "failed",
        ),
        ("preempted", "", ["data/audit.json"], "tuneforge resume=outputs/2026"),
        ("finished", "", ["data/audit.json", "data/preview.jsonl"], "nothing was trained"),
        ("running", "", [], "there is no verdict yet"),
    ],
)
def test_a_run_that_ended_early_has_a_report(
    tmp_path: Path, status: str, error: str, files: list[str], expected: str
) -> None:
    whole = runs.whole(tmp_path / "whole")
    record = {"run": {"name": "x", "folder": "outputs/2026"}, "status": status, "error": error}
    partial = runs.write(tmp_path / "partial", {"run.json": record} | {f: (whole / f).read_text() for f in files})
    text = words(report(partial))
    assert expected in text
    assert error in text
    assert "Is it right?" in text


def test_nothing_at_all_and_damaged_files(tmp_path: Path) -> None:
    assert "there is no verdict yet" in words(report(tmp_path))
    runs.whole(tmp_path)
    (tmp_path / "metrics.json").write_text('{"schema": 1, "rows"')
    (tmp_path / "samples.jsonl").write_text("{}\nnot json\n")
    text = words(report(tmp_path))
    assert "could not be read: metrics.json" in text
    assert "samples.jsonl:2" in text


def test_a_leak_and_an_untrained_stop_token_are_wrong(tmp_path: Path) -> None:
    runs.whole(tmp_path)
    audit = json.loads((tmp_path / "data/audit.json").read_text())
    place = {"set": "test.t", "held_out": "test.jsonl:3", "training": "train.jsonl:9", "kind": "row"}
    audit["findings"] = [{"check": "leakage", "severity": "error", "text": "1 of 9 rows", "places": [place]}]
    audit["proof"]["stop_trained"] = 0
    (tmp_path / "data/audit.json").write_text(json.dumps(audit))
    text = words(report(tmp_path))
    assert text[text.index("Is it right?") :].count("✗") == 2
    assert "row also at train.jsonl:9" in text


def test_likelihoods_are_ordered_by_gain(tmp_path: Path) -> None:
    runs.whole(tmp_path)
    metrics = runs.metrics()
    metrics["verdict"]["primary"] = next(r for r in metrics["rows"] if r["metric"] == "bits_per_byte" and r["versus"])

    def scored(line: int, base: float, tuned: float) -> dict[str, Any]:
        numbers = {v: {"perplexity.nats": x, "perplexity.bytes": 4.0} for v, x in (("base", base), ("tuned", tuned))}
        return runs.sample(line, "target", 0, 0) | {"scores": numbers, "answers": {}}

    runs.write(
        tmp_path, {"metrics.json": metrics, "samples.jsonl": [scored(1, 8, 4), scored(2, 8, 9), scored(3, 8, 1)]}
    )
    text = words(report(tmp_path))
    assert text.index("Gained most") < text.index("test.jsonl:3") < text.index("Lost most") < text.index("test.jsonl:2")


def test_rewards_are_ordered_by_gain_too_and_higher_is_better(tmp_path: Path) -> None:
    runs.whole(tmp_path)
    metrics = runs.metrics()
    metrics["verdict"]["primary"] |= {"evaluator": "judge", "metric": "reward"}
    metrics["rows"].append(metrics["rows"][0] | {"evaluator": "judge", "metric": "reward", "higher_is_better": True})
    lines = [
        runs.sample(line, "target", 0, 0)
        | {"scores": {v: {"judge.reward": x} for v, x in (("base", 1.5), ("tuned", y))}}
        for line, y in ((1, 2.25), (2, -3.5))
    ]
    runs.write(tmp_path, {"metrics.json": metrics, "samples.jsonl": lines})
    text = words(report(tmp_path))
    assert text.index("Gained most") < text.index("test.jsonl:1") < text.index("Lost most") < text.index("test.jsonl:2")
    assert "2.25 reward" in text
    assert "bits/byte" not in text


def test_a_pair_shows_which_answer_was_preferred_and_nothing_generated(tmp_path: Path) -> None:
    runs.whole(tmp_path)
    metrics = runs.metrics()
    metrics["verdict"]["primary"] |= {"evaluator": "reward_accuracy", "metric": "reward_accuracy"}
    metrics["variants"]["longer"] = {"unit": "characters"}

    def preferred(share: float, margin: float) -> dict[str, float]:
        return {"reward_accuracy.reward_accuracy": share, "reward_accuracy.reward_margin": margin}

    scores = {"longer": preferred(0, -13), "tuned": preferred(1, 0.061)}
    pair = runs.sample(1, "target", 0, 0) | {"rejected": "Never.", "answers": {}, "scores": scores}
    runs.write(tmp_path, {"metrics.json": metrics, "samples.jsonl": [pair]})
    text = words(report(tmp_path))
    assert 'chosen{"queue":"network","urgency":2}rejectedNever.' in text
    assert "longer✗prefers rejected, by 13 characters tuned✓prefers chosen, by .06 " in text
    assert "(empty)" not in text


def test_what_generated_nothing_is_not_an_empty_answer(tmp_path: Path) -> None:
    runs.whole(tmp_path)
    line = runs.sample(1, "target", 1, 0)
    runs.write(tmp_path, {"samples.jsonl": [line | {"answers": {}}]})
    assert "base✓right prompted✓right tuned✗wrong" in words(report(tmp_path))
    runs.write(tmp_path, {"samples.jsonl": [line | {"answers": dict.fromkeys(line["answers"], "")}]})
    assert "tuned✗(empty) wrong" in words(report(tmp_path))


def test_long_texts_are_cut_aloud(tmp_path: Path) -> None:
    assert "more characters)" in words(report(runs.whole(tmp_path, "x" * 5000)))


def test_the_table_on_the_terminal() -> None:
    console = Console(width=160, file=None, record=True, quiet=False)
    with console.capture() as captured:
        console.print(result_table(runs.metrics()))
    lines = [re.split(r"\s{2,}", line.strip()) for line in captured.get().splitlines()]
    assert lines[0] == ["Result", "base", "prompted (4-shot)", "tuned", "tuned - prompted"]
    expected = [
        "target test",
        "exact_match",
        "n=500",
        ".03",
        ".40 [.36,.44]",
        ".81 [.77,.84]",
        "+.41 [+.36,+.46]",
        "better",
    ]
    assert lines[1] == expected
    assert lines[3][-2:] == ["-.03 [-.06,+.00] to base", "not settled: budget -.05"]
    assert lines[4][-1] == "within budget -.05"


def test_curves_of_layers_and_of_unfreezing() -> None:
    log = [{"step": s, "learning_rate": 1e-3, "learning_rate/embeddings": 1e-4, "training_parameters": 10.0 * s}
           for s in (1.0, 2.0)]  # fmt: skip
    rates, trained = curves.plots(log)
    assert [line.name for line in rates.lines] == ["learning rate", "embeddings"]
    assert [line.last for line in trained.lines] == ["20"]
    assert curves.plots([{"step": 1.0, "train/loss": 2.0}]) == []
    (loss,) = curves.plots([{"step": s, "train/loss": 2.0, "validation/loss": 3.0 - s} for s in (1.0, 2.0)])
    assert loss.words == "lowest validation loss after step 2: train 2 over 2 steps, validation 1, gap -1"
    (wide,) = curves.plots([{"step": s, "train/loss": 10 / s**3} for s in range(1, 11)])
    assert [text for _, text in wide.y] == ["0.01", "0.1", "1", "10"]
    for plot in (rates, trained, loss):
        for line in plot.lines:
            xs, ys = zip(*(map(float, point.split(",")) for point in line.points.split()), strict=True)
            assert curves.LEFT <= min(xs) < max(xs) <= plot.width - curves.RIGHT + 0.1
            assert curves.TOP <= min(ys) <= max(ys) <= plot.height - curves.BOTTOM + 0.1


def test_scales() -> None:
    assert charts.nice_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert charts.nice_ticks(1.13, 1.41) == [1.2, 1.3, 1.4]
    for panel in charts.panels(runs.metrics()):
        for dot in panel.dots:
            assert dot.low is not None
            assert dot.high is not None
            assert charts.LEFT <= dot.low <= dot.x <= dot.high <= charts.RIGHT


def test_what_is_no_number_is_not_drawn() -> None:
    metrics = runs.metrics()
    for row in metrics["rows"]:
        row["value"] = row["low"] = row["high"] = None
    assert charts.panels(metrics) == []


def test_reading_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.csv").write_text("step,train/loss\n1,nan\n2,abc\n3,0.5\n")
    (tmp_path / "run.json").write_text("[1]")
    found = read(tmp_path)
    assert found.log == [{"step": 1.0}, {"step": 2.0}, {"step": 3.0, "train/loss": 0.5}]
    assert found.record == {}
