"""Numbers and paired differences of several runs, from the statistics per row that each wrote to samples.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tuneforge.comparison.configured import measuring
from tuneforge.comparison.contestants import Contestant
from tuneforge.components import Evaluator
from tuneforge.errors import TuneForgeError
from tuneforge.evaluation import tidy
from tuneforge.evaluation.measure import Cell, Measured, Place
from tuneforge.rows import HeldOut

CLOSE = 1e-9
"""Largest relative difference of a number made again from what its run wrote."""


@dataclass
class Repeated(Measured):
    """Measured, as samples.jsonl tells it: without rows, with the protocols that the runs recorded."""

    protocols: dict[Place, str] = field(default_factory=dict)

    def protocol(self, place: Place) -> str:
        """As recorded."""
        return self.protocols[place]


def rows(
    able: Sequence[Contestant], shared: Mapping[Place, str], against: Contestant
) -> tuple[list[dict[str, Any]], list[str]]:
    """Metric rows with each contestant as a `model` and `against` as `versus`, and in words what could not be made.

    Intervals are those of a run: Wilson, Newcombe, paired jackknife, over groups. A number that does not equal the one
    that its run recorded is not made again: it stands as recorded, without a difference.
    """
    run, notes = measuring(against.folder, (place.evaluator for place in shared))
    measured, missing = _measured(able, shared, run.evaluator)
    notes += missing
    pairs = [(one.name, against.name) for one in able if one is not against]
    made = tidy.rows(run, measured, pairs=pairs)
    wrong = {_key(r) for r in made if not r["versus"] and not _as_recorded(r, able)}
    notes += [f"{e}.{m} on {split}.{s}: cannot be made again from samples.jsonl" for e, m, s, split in sorted(wrong)]
    kept = [r for r in made if _key(r) not in wrong]
    there = {(r["model"], *_key(r)) for r in kept}
    recorded = [{**r, "model": one.name} for one in able for r in one.rows if _at(r) in shared or _key(r) in wrong]
    return [*kept, *(r for r in recorded if (r["model"], *_key(r)) not in there)], notes


def _key(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return row["evaluator"], row["metric"], row["set"], row["split"]


def _at(row: Mapping[str, Any]) -> Place:
    return Place(row["evaluator"], row["split"], row["set"])


def _as_recorded(row: Mapping[str, Any], able: Sequence[Contestant]) -> bool:
    one = next(one for one in able if one.name == row["model"])
    recorded = next((r["value"] for r in one.rows if _key(r) == _key(row)), None)
    if recorded is None or row["value"] is None:
        return recorded is row["value"]
    return math.isclose(recorded, row["value"], rel_tol=CLOSE, abs_tol=CLOSE)


def _measured(
    able: Sequence[Contestant], shared: Mapping[Place, str], evaluators: dict[str, Evaluator]
) -> tuple[Repeated, list[str]]:
    measured, notes = Repeated(evaluators=evaluators, protocols=dict(shared)), []
    for place in (p for p in shared if p.evaluator in evaluators):
        found = {one.name: one.scored(place) for one in able}
        empty = [name for name, samples in found.items() if not samples]
        if empty:
            notes.append(f"{place.evaluator} on {place.split}.{place.set}: no samples.jsonl in {', '.join(empty)}")
            continue
        first = next(iter(found.values()))
        _same_rows(place, found)
        measured.rows[place] = []
        measured.sets[place.split, place.set] = HeldOut(place.split, place.set, str(first[0]["role"]), [])
        groups = [s.get("group") or f"{s['id']}#{i}" for i, s in enumerate(first)]
        for one in able:
            measured.cells[place, one.name] = Cell(_stats(found[one.name], place, one), groups)
    return measured, notes


def _same_rows(place: Place, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    (first, reference), *others = ((name, [s["id"] for s in samples]) for name, samples in found.items())
    for name, ids in others:
        if ids != reference:
            where = f"{place.evaluator} on {place.split}.{place.set}"
            raise TuneForgeError(f"{where}: samples.jsonl of {name} and {first} hold other rows under one protocol")


def _stats(samples: Sequence[Mapping[str, Any]], place: Place, one: Contestant) -> dict[str, Any]:
    prefix = f"{place.evaluator}."
    names = [k for k in samples[0]["scores"][one.variant] if k.startswith(prefix)]
    numbers = [s["scores"][one.variant] for s in samples]
    return {
        name.removeprefix(prefix): np.array([_number(row.get(name)) for row in numbers], dtype=np.float64)
        for name in names
    }


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
