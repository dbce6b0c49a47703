"""Every test row in one table that sorts and filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge.evaluation.figures import figure, in_order
from tuneforge.report.answers import change, prompt_text, scored

MOST = 1000
"""Rows that are shown."""
LONGEST = 160
"""Characters of a text in a cell."""
ROLES = ("target", "general", "safety")
FIRST = ("newly wrong", "worse", "newly right", "better", "still wrong", "same", "still right")
"""Changes in the order in which their rows stand."""


@dataclass(frozen=True)
class Line:
    """A row: what stands in its cells."""

    place: str
    role: str
    set: str
    change: str
    prompt: str
    reference: str
    answers: Sequence[tuple[str, str]]
    """(the answer, its score) of each variant; two empty texts where it was not asked."""


@dataclass(frozen=True)
class EveryRow:
    """The rows that are shown, the variants that head their columns, and how many rows there are."""

    lines: Sequence[Line]
    variants: Sequence[str]
    total: int


def every_row(samples: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> EveryRow:
    """The test rows that tuned and what it has to beat were both scored on: those that changed first."""
    found = [(role, one) for name in ROLES if (role := scored(samples, metrics, name)) for one in role.rows]
    kinds = [change(role, scores) for role, (_, scores) in found]
    variants = in_order(v for _, (_, scores) in found for v in scores)
    order = sorted(range(len(found)), key=lambda i: FIRST.index(kinds[i]))[:MOST]
    lines = [_line(found[i][1][0], found[i][1][1], kinds[i], variants) for i in order]
    return EveryRow(lines, variants, len(found))


def _line(sample: Mapping[str, Any], scores: Mapping[str, float], kind: str, variants: Sequence[str]) -> Line:
    answers = sample.get("answers") or {}
    return Line(
        place=str(sample.get("place") or sample.get("id") or ""),
        role=str(sample.get("role") or ""),
        set=str(sample.get("set") or ""),
        change=kind,
        prompt=prompt_text(sample.get("prompt")),
        reference=str(sample.get("reference") or ""),
        answers=[(str(answers.get(v, "")), figure(scores[v]) if v in scores else "") for v in variants],
    )
