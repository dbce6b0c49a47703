"""Which answers changed: newly right, newly wrong, still wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from tuneforge.evaluation.figures import figure, in_order, rival
from tuneforge.report.differences import Stretch, stretches

MARGINS = {"margin": "nats per token", "reward_margin": ""}
"""Statistics that say by how much the better answer of a pair is preferred, with their unit."""
MOST = 12
"""Rows per column."""


class Answered(NamedTuple):
    """What a variant answered to a row."""

    variant: str
    answer: Sequence[Stretch] | None
    """None where it generated nothing."""
    right: bool | None
    score: str
    """In words."""


@dataclass(frozen=True)
class Shown:
    """A row as the report shows it."""

    place: str
    prompt: str
    reference: Sequence[Stretch]
    """What the tuned answer lacks of it is marked."""
    rejected: str | None
    """The worse answer of a pair, where `reference` is the better one."""
    answers: Sequence[Answered]
    """Words are marked that the tuned answer and the others do not share, and those that the reference lacks."""


@dataclass(frozen=True)
class Column:
    """One kind of change, how many rows are of it, and the first of them."""

    title: str
    kind: str
    total: int
    rows: Sequence[Shown]


Score = dict[str, float]
Scored = Sequence[tuple[Mapping[str, Any], Score]]


@dataclass(frozen=True)
class Role:
    """The test rows of a role that tuned and what it has to beat were both scored on."""

    evaluator: str
    rows: Scored
    known: Mapping[str, bool]
    """The evaluator's metrics: whether higher is better."""
    rival: str
    """The variant that the tuned model is compared with."""

    @cached_property
    def shares(self) -> bool:
        """Every score is 0 or 1 (or a tie ½)."""
        return all(v in (0, 0.5, 1) for _, scores in self.rows for v in scores.values())

    @cached_property
    def unit(self) -> str:
        """The metric that scores are of."""
        return unit_of(self.rows[0][0]["scores"]["tuned"], self.evaluator, self.known)

    def gain(self, scores: Score) -> float:
        """How much better the tuned model did than what it has to beat."""
        sign = 1 if self.shares or self.known.get(self.unit, False) else -1
        return sign * (scores["tuned"] - scores[self.rival])


def scored(samples: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], role: str) -> Role | None:
    """By the evaluator that decides about the role, else the first that scored any of its rows; None: there is none."""
    verdict = metrics.get("verdict") or {}
    evaluators = [b["evaluator"] for b in verdict.get("budgets") or [] if b["role"] == role]
    if role == "target" and verdict.get("primary"):
        evaluators = [verdict["primary"]["evaluator"]]
    here = [s for s in samples if s.get("role") == role and s.get("split", "test") == "test"]
    for name in [*evaluators, *_evaluators(here)]:
        known = {r["metric"]: r["higher_is_better"] for r in metrics.get("rows") or [] if r["evaluator"] == name}
        rows = [(s, scores) for s in here if (scores := _scores(s, name, known)) is not None]
        if rows:
            versus = rival(verdict, role, (v for _, scores in rows for v in scores if v != "tuned"))
            return Role(name, [row for row in rows if versus in row[1]], known, versus)
    return None


def columns(samples: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], role: str) -> list[Column]:
    """Three columns for the test rows of a role; none where tuned and what it has to beat were not both scored.

    Right and wrong where every score is 0 or 1 (or a tie ½); else the rows that gained, that lost, and that are worst.
    """
    found = scored(samples, metrics, role)
    if found is None:
        return []
    units = {v: facts["unit"] for v, facts in (metrics.get("variants") or {}).items() if facts.get("unit")}
    return _by_right(found, units) if found.shares else _by_gain(found)


def _by_right(role: Role, units: Mapping[str, str]) -> list[Column]:
    groups: dict[str, list[tuple[Mapping[str, Any], Score]]] = {"newly right": [], "newly wrong": [], "still wrong": []}
    for sample, scores in role.rows:
        if (kind := change(role, scores)) in groups:
            groups[kind].append((sample, scores))

    def show(sample: Mapping[str, Any], scores: Score) -> Shown:
        words = {v: "right" if s == 1 else "wrong" if s == 0 else "tie" for v, s in scores.items()}
        words |= _preferred(sample, role.evaluator, scores, units)
        return _shown(sample, words, {v: s == 1 for v, s in scores.items()}, role.rival)

    return [
        Column(kind.capitalize(), kind.replace(" ", "-"), len(rows), [show(*row) for row in rows[:MOST]])
        for kind, rows in groups.items()
    ]


def change(role: Role, scores: Score) -> str:
    """`newly right`, `newly wrong`, `still wrong`, `still right`; of scores that are no shares, `better` or `worse`."""
    gain = role.gain(scores)
    if not role.shares:
        return "better" if gain > 0 else "worse" if gain < 0 else "same"
    still = "still wrong" if scores["tuned"] < 0.5 else "still right"
    return "newly right" if gain > 0 else "newly wrong" if gain < 0 else still


def _by_gain(role: Role) -> list[Column]:
    sign = 1 if role.known.get(role.unit, False) else -1
    ordered = sorted(role.rows, key=lambda row: role.gain(row[1]))
    gained = [row for row in ordered[::-1] if role.gain(row[1]) > 0]
    lost = [row for row in ordered if role.gain(row[1]) < 0]
    worst = sorted(role.rows, key=lambda row: sign * row[1]["tuned"])

    def column(title: str, kind: str, rows: Scored) -> Column:
        words = [{v: f"{figure(x)} {role.unit}" for v, x in scores.items()} for _, scores in rows[:MOST]]
        return Column(
            title, kind, len(rows), [_shown(s, w, {}, role.rival) for (s, _), w in zip(rows, words, strict=False)]
        )

    kinds = (("Gained most", "newly-right"), ("Lost most", "newly-wrong"), ("Hardest", "still-wrong"))
    return [column(*kind, rows) for kind, rows in zip(kinds, (gained, lost, worst), strict=True)]


def _preferred(
    sample: Mapping[str, Any], evaluator: str, scores: Mapping[str, float], units: Mapping[str, str]
) -> dict[str, str]:
    """Variant → which answer of the pair it preferred, and by how much; nothing for a row that is no pair."""
    found = {}
    for variant, score in scores.items() if sample.get("rejected") is not None else ():
        numbers = (sample.get("scores") or {})[variant]
        key = next((f"{evaluator}.{name}" for name in MARGINS if numbers.get(f"{evaluator}.{name}") is not None), "")
        if key:
            side = "chosen" if score == 1 else "rejected" if score == 0 else "neither"
            unit = units.get(variant) or MARGINS[key.removeprefix(f"{evaluator}.")]
            by = figure(abs(numbers[key]), 0 if float(numbers[key]).is_integer() else 2)
            found[variant] = f"prefers {side}, by {by} {unit}".rstrip()
    return found


def _evaluators(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [k.split(".")[0] for s in samples[:1] for scores in (s.get("scores") or {}).values() for k in scores]
    return list(dict.fromkeys(names))


def _scores(sample: Mapping[str, Any], evaluator: str, metrics: Iterable[str]) -> Score | None:
    """Variant → score; None where tuned or what it has to beat has none."""
    scores = sample.get("scores") or {}
    found = {v: score for v, numbers in scores.items() if (score := score_of(numbers, evaluator, metrics)) is not None}
    return found if "tuned" in found and len(found) > 1 else None


def unit_of(numbers: Mapping[str, float | None], evaluator: str, metrics: Iterable[str]) -> str:
    """The metric that `score_of` finds."""
    found = (name for name in (evaluator, *metrics) if f"{evaluator}.{name}" in numbers)
    return next(found, "bits/byte")


def score_of(numbers: Mapping[str, float | None], evaluator: str, metrics: Iterable[str]) -> float | None:
    """The statistic of a row that is named like the evaluator or the first of its metrics, else bits per byte.

    None where the row has no such number: one of another metric would stand for it under its name.
    """
    names = [f"{evaluator}.{name}" for name in (evaluator, *metrics)]
    nats, size = (numbers.get(f"{evaluator}.{name}") for name in ("nats", "bytes"))
    bits = nats / size / math.log(2) if nats is not None and size else None
    score = next((numbers[name] for name in names if name in numbers), bits)
    return None if score is None or not math.isfinite(score) else float(score)


def _shown(sample: Mapping[str, Any], words: Mapping[str, str], right: Mapping[str, bool], versus: str) -> Shown:
    answers = {v: str(text) for v, text in (sample.get("answers") or {}).items()}
    reference = str(sample.get("reference") or "")
    rivals = {v: versus if v == "tuned" else "tuned" for v in words}
    marked = {v: stretches(answers[v], reference, answers.get(rivals[v])) for v in words if v in answers}
    return Shown(
        place=str(sample.get("place") or sample.get("id") or ""),
        prompt=prompt_text(sample.get("prompt")),
        reference=stretches(reference, answers.get("tuned", "")),
        rejected=sample.get("rejected"),
        answers=[Answered(v, marked.get(v), right.get(v), words.get(v, "")) for v in in_order(words)],
    )


def prompt_text(prompt: Any) -> str:
    """A prompt, or the turns of one, in a text."""
    if isinstance(prompt, list):
        return "\n".join(f"{m.get('role', '')}: {m.get('content', '')}" for m in prompt if isinstance(m, dict))
    return str(prompt or "")
