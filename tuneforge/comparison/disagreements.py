"""Rows on which the models disagree, by the number that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuneforge.comparison.contestants import Contestant
from tuneforge.evaluation.measure import Place
from tuneforge.report.answers import score_of, unit_of


@dataclass(frozen=True)
class Row:
    """A row, what each answered, and what each scored."""

    sample: Mapping[str, Any]
    answers: Mapping[str, str]
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Disagreements:
    """Rows whose scores are not all equal, those that spread most first."""

    place: Place
    shares: bool
    """Every score is 0 or 1 (or a tie ½)."""
    total: int
    """Rows that all were scored on."""
    higher_is_better: bool = True
    """Of two scores, as right answers; of bits per byte the lower one is better."""
    rows: Sequence[Row] = field(default_factory=list)

    def against(self, name: str, other: str) -> tuple[int, int]:
        """On how many rows the first did better and worse than the other."""
        sign = 1 if self.higher_is_better else -1
        gains = [sign * (row.scores[name] - row.scores[other]) for row in self.rows]
        return sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)


def disagreements(able: Sequence[Contestant], place: Place) -> Disagreements:
    """Over the rows that all were scored on at a place where all have the same rows."""
    metrics = {r["metric"]: bool(r["higher_is_better"]) for r in able[0].rows if r["evaluator"] == place.evaluator}
    found, unit = [], ""
    for samples in zip(*(one.scored(place) for one in able), strict=True):
        numbers = {one.name: (s["scores"].get(one.variant) or {}) for one, s in zip(able, samples, strict=True)}
        scores = {name: score_of(n, place.evaluator, metrics) for name, n in numbers.items()}
        known = {name: score for name, score in scores.items() if score is not None}
        if len(known) == len(able):
            texts = {one.name: (s.get("answers") or {}).get(one.variant) for one, s in zip(able, samples, strict=True)}
            unit = unit_of(next(iter(numbers.values())), place.evaluator, metrics)
            found.append(Row(samples[0], {k: str(t) for k, t in texts.items() if t is not None}, known))
    apart = [row for row in found if len(set(row.scores.values())) > 1]
    apart.sort(key=lambda row: min(row.scores.values()) - max(row.scores.values()))
    shares = all(s in (0, 0.5, 1) for r in found for s in r.scores.values())
    return Disagreements(place, shares, len(found), shares or metrics.get(unit, False), apart)
