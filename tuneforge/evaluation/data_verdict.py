"""Would more data help: the word on a learning curve, from the runs that make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuneforge.evaluation.figures import figure, with_interval
from tuneforge.evaluation.learning_curve import Curve, Point, fit
from tuneforge.rows import Conclusion

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
    found = _slices(done[-1]["metrics"], primary)
    decision, text = decide(curve, found, worth, target, str(primary["metric"]))
    facts = {
        "metric": primary["metric"], "set": primary["set"], "higher_is_better": curve.higher_is_better,
        "stages": [one["stage"] for one in done], "points": [p._asdict() for p in curve.points],
        "line": [p._asdict() for p in curve.line], "gain": curve.gain, "recent": curve.recent, "worth": worth,
        "target": target, "slices": found,
    }  # fmt: skip
    return Conclusion(decision, text, facts)


def decide(curve: Curve, found: Sequence[Record], worth: float, target: float | None, metric: str) -> tuple[str, str]:
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
    lacking = [one for one in found if one["verdict"] == "coverage"]
    if lacking:
        names = "; ".join(f"{one['name']} ({figure(one['tuned'])}, n={one['n']})" for one in lacking[:3])
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


def _slices(metrics: Record, primary: Mapping[str, Any]) -> list[Record]:
    """Of the last stage, those of the deciding number by class or topic, the weakest first."""
    keys = ("evaluator", "metric", "split", "role")
    found = [s for s in metrics.get("slices") or [] if all(s[key] == primary[key] for key in keys)]
    return [s for s in found if s["by"] in ("label", "topic")]
