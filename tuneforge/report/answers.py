"""Which answers changed: newly right, newly wrong, still wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge.evaluation.figures import beaten, figure, in_order

MARGINS = {"margin": "nats per token", "reward_margin": ""}
"""Statistics that say by how much the better answer of a pair is preferred, with their unit."""
MOST = 12
"""Rows per column."""


@dataclass(frozen=True)
class Shown:
    """A row as the report shows it."""

    place: str
    prompt: str
    reference: str
    rejected: str | None
    """The worse answer of a pair, where `reference` is the better one."""
    answers: Sequence[tuple[str, str | None, bool | None, str]]
    """(variant, its answer or None where it generated nothing, whether it is right, its score in words)."""


@dataclass(frozen=True)
class Column:
    """One kind of change, how many rows are of it, and the first of them."""

    title: str
    kind: str
    total: int
    rows: Sequence[Shown]


def columns(samples: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], role: str) -> list[Column]:
    """Three columns for the test rows of a role; none where tuned and what it has to beat were not both scored.

    Right and wrong where every score is 0 or 1 (or a tie ½); else the rows that gained, that lost, and that are worst.
    """
    verdict = metrics.get("verdict") or {}
    evaluators = [b["evaluator"] for b in verdict.get("budgets") or [] if b["role"] == role]
    if role == "target" and verdict.get("primary"):
        evaluators = [verdict["primary"]["evaluator"]]
    units = {v: facts["unit"] for v, facts in (metrics.get("variants") or {}).items() if facts.get("unit")}
    here = [s for s in samples if s.get("role") == role and s.get("split", "test") == "test"]
    for name in [*evaluators, *_evaluators(here)]:
        known = {r["metric"]: r["higher_is_better"] for r in metrics.get("rows") or [] if r["evaluator"] == name}
        scored = [(s, scores) for s in here if (scores := _scores(s, name, known)) is not None]
        if scored:
            shares = all(v in (0, 0.5, 1) for _, scores in scored for v in scores.values())
            if shares:
                return _by_right(scored, name, units)
            numbers = scored[0][0]["scores"]["tuned"]
            metric = next((m for m in (name, *sorted(known)) if f"{name}.{m}" in numbers), "")
            return _by_gain(scored, metric or "bits/byte", known.get(metric, False))
    return []


Scored = Sequence[tuple[Mapping[str, Any], dict[str, float]]]


def _by_right(scored: Scored, evaluator: str, units: Mapping[str, str]) -> list[Column]:
    groups: dict[str, list[Shown]] = {"newly right": [], "newly wrong": [], "still wrong": []}
    for sample, scores in scored:
        before, after = scores[beaten(scores)], scores["tuned"]
        kind = "newly right" if after > before else "newly wrong" if after < before else "still wrong"
        if kind != "still wrong" or after < 0.5:
            words = {v: "right" if s == 1 else "wrong" if s == 0 else "tie" for v, s in scores.items()}
            words |= _preferred(sample, evaluator, scores, units)
            groups[kind].append(_shown(sample, words, {v: s == 1 for v, s in scores.items()}))
    return [Column(k.capitalize(), k.replace(" ", "-"), len(rows), rows[:MOST]) for k, rows in groups.items()]


def _by_gain(scored: Scored, unit: str, higher: bool) -> list[Column]:
    """Scores of that name, and whether higher is better."""
    sign = 1 if higher else -1

    def gain(item: tuple[Mapping[str, Any], dict[str, float]]) -> float:
        return sign * (item[1]["tuned"] - item[1][beaten(item[1])])

    ordered = sorted(scored, key=gain)
    gained, lost = [i for i in ordered[::-1] if gain(i) > 0], [i for i in ordered if gain(i) < 0]
    worst = sorted(scored, key=lambda i: sign * i[1]["tuned"])

    def column(title: str, kind: str, rows: Scored) -> Column:
        words = [{v: f"{figure(x)} {unit}" for v, x in scores.items()} for _, scores in rows[:MOST]]
        return Column(title, kind, len(rows), [_shown(s, w, {}) for (s, _), w in zip(rows, words, strict=False)])

    kinds = (("Gained most", "newly-right"), ("Lost most", "newly-wrong"), ("Hardest", "still-wrong"))
    return [column(*kind, rows) for kind, rows in zip(kinds, (gained, lost, worst), strict=True)]


def _preferred(
    sample: Mapping[str, Any], evaluator: str, scores: Mapping[str, float], units: Mapping[str, str]
) -> dict[str, str]:
    """Variant → which answer of the pair it preferred, and by how much; nothing for a row that is no pair."""
    found = {}
    for variant, score in scores.items() if sample.get("rejected") is not None else ():
        numbers = (sample.get("scores") or {})[variant]
        key = next((f"{evaluator}.{name}" for name in MARGINS if f"{evaluator}.{name}" in numbers), "")
        if key:
            side = "chosen" if score == 1 else "rejected" if score == 0 else "neither"
            unit = units.get(variant) or MARGINS[key.removeprefix(f"{evaluator}.")]
            by = figure(abs(numbers[key]), 0 if float(numbers[key]).is_integer() else 2)
            found[variant] = f"prefers {side}, by {by} {unit}".rstrip()
    return found


def _evaluators(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [k.split(".")[0] for s in samples[:1] for scores in (s.get("scores") or {}).values() for k in scores]
    return list(dict.fromkeys(names))


def _scores(sample: Mapping[str, Any], evaluator: str, metrics: Iterable[str]) -> dict[str, float] | None:
    """Variant → score: the statistic named like the evaluator or one of its metrics, else bits per byte."""
    names = [f"{evaluator}.{name}" for name in (evaluator, *sorted(metrics))]
    found = {}
    for variant, numbers in (sample.get("scores") or {}).items():
        score = next((numbers[name] for name in names if name in numbers), None)
        if score is None and numbers.get(f"{evaluator}.bytes"):
            score = numbers[f"{evaluator}.nats"] / numbers[f"{evaluator}.bytes"] / math.log(2)
        if score is not None:
            found[variant] = float(score)
    return found if "tuned" in found and len(found) > 1 else None


def _shown(sample: Mapping[str, Any], words: Mapping[str, str], right: Mapping[str, bool]) -> Shown:
    answers = {v: str(text) for v, text in (sample.get("answers") or {}).items()}
    return Shown(
        place=str(sample.get("place") or sample.get("id") or ""),
        prompt=_prompt(sample.get("prompt")),
        reference=str(sample.get("reference") or ""),
        rejected=sample.get("rejected"),
        answers=[(v, answers.get(v), right.get(v), words.get(v, "")) for v in in_order(words)],
    )


def _prompt(prompt: Any) -> str:
    if isinstance(prompt, list):
        return "\n".join(f"{m.get('role', '')}: {m.get('content', '')}" for m in prompt if isinstance(m, dict))
    return str(prompt or "")
