"""Would more data help: the word on a learning curve, from the runs that make it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tuneforge import saved
from tuneforge.context import RunContext
from tuneforge.conversation import answer_text, classes, split
from tuneforge.evaluation.figures import figure, with_interval
from tuneforge.evaluation.learning_curve import Curve, Point, fit
from tuneforge.evaluation.slices import Slice, slices
from tuneforge.rows import Conclusion, Row

Record = Mapping[str, Any]


def conclude(done: Sequence[Record], worth: float, target: float | None) -> Conclusion:
    """*more of the same*, *enough*, *other data* or *not settled*, from run.json and metrics.json of each stage."""
    primary = (done[-1]["metrics"].get("verdict") or {}).get("primary")
    values = [_value(one, primary) for one in done] if primary else []
    if not primary or any(value is None for value in values):
        return Conclusion("not settled", "a stage has no value of the primary metric")
    rows = [one["data"]["rows"] for one in done]
    points = [Point(n, v["value"], v["low"], v["high"]) for n, v in zip(rows, values, strict=True) if v]
    curve = fit(points, bool(primary["higher_is_better"]), int(done[-1]["seed"]))
    weak = _slices(Path(done[-1]["run"]["folder"]), primary)
    decision, text = decide(curve, weak, worth, target, str(primary["metric"]))
    facts = {
        "metric": primary["metric"], "set": primary["set"], "higher_is_better": curve.higher_is_better,
        "stages": [one["stage"] for one in done], "points": [p._asdict() for p in curve.points],
        "line": [p._asdict() for p in curve.line], "gain": curve.gain, "recent": curve.recent, "worth": worth,
        "target": target, "slices": [asdict(one) for one in weak],
    }  # fmt: skip
    return Conclusion(decision, text, facts)


def decide(curve: Curve, found: Sequence[Slice], worth: float, target: float | None, metric: str) -> tuple[str, str]:
    """(decision, one sentence)."""
    rows, gain = curve.points[-1].rows, curve.gain
    shown = gain if curve.higher_is_better else (-gain[0], -gain[2], -gain[1])
    twice = f"{metric} from {rows:,} to {2 * rows:,} rows: {with_interval(*shown, sign=True)} by the curve"
    wanted = f"the {figure(worth)} that would be worth it"
    if gain[1] > worth:
        return "more of the same", f"{twice}, more than {wanted}"
    if gain[2] >= worth:
        return "not settled", f"{twice}; more test rows would show whether that is {wanted}"
    flat = f"{twice}, less than {wanted}"
    lacking = [one for one in found if one.weak and one.thin]
    if lacking:
        names = "; ".join(f"{one.name} ({figure(one.value)}, n={one.n})" for one in lacking[:3])
        return "other data", f"{flat}; the training rows hardly cover where it fails: {names}"
    if target is not None and not _met(curve, target):
        return "other data", f"{flat}, and {figure(curve.points[-1].value)} is short of the target {figure(target)}"
    return "enough", flat


def _met(curve: Curve, target: float) -> bool:
    value = curve.points[-1].value
    return value >= target if curve.higher_is_better else value <= target


def _value(one: Record, primary: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The tuned model's own row of the primary metric, with an interval."""
    keys = ("evaluator", "metric", "set", "split")
    rows = [r for r in one["metrics"].get("rows", []) if r["model"] == "tuned" and not r["versus"]]
    found = [r for r in rows if all(r[key] == primary[key] for key in keys)]
    return next((r for r in found if None not in (r["value"], r["low"], r["high"])), None)


def _slices(folder: Path, primary: Mapping[str, Any]) -> list[Slice]:
    """Of the last stage, where its metric is right or wrong row by row."""
    name = f"{primary['evaluator']}.{primary['metric']}"
    samples, scores = [], []
    for line in (folder / "samples.jsonl").read_text(encoding="utf-8").split("\n"):
        sample = json.loads(line) if line else {}
        score = sample.get("scores", {}).get("tuned", {}).get(name)
        if score is not None and sample["split"] == "test" and sample["role"] == primary["role"]:
            samples.append(sample)
            scores.append(score)
    if not scores or not set(scores) <= {0.0, 1.0}:
        return []
    return slices(samples, scores, [_asked(row) for row in _training_rows(folder)])


class _Silent(RunContext):
    """What is said of the rows was said when the stage ran."""

    def note(self, text: str, **numbers: float) -> None:
        """Nothing."""


def _training_rows(folder: Path) -> Sequence[Row]:
    from tuneforge.preparation.prepare import prepare

    run = saved.load(folder)
    return prepare(run, _Silent(run, folder)).train


def _asked(row: Row) -> tuple[str, str]:
    """(the last thing asked, the answer or class)."""
    named = classes(row.columns)
    if named is not None:
        return str(row.columns["text"]), ", ".join(named)
    parts = split(row.columns) or split(row.columns, "chosen")
    if parts is None:
        return "", str(row.columns.get("text") or "")
    column = "completion" if split(row.columns) else "chosen"
    return str(parts[0][-1].get("content") or "") if parts[0] else "", answer_text(row.columns, column)
