"""Several models on one protocol: their numbers, differences, costs, configs and data, and where their answers part."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneforge.comparison import facts, figures
from tuneforge.comparison.contestants import Contestant
from tuneforge.comparison.disagreements import Disagreements, disagreements
from tuneforge.comparison.places import places
from tuneforge.evaluation.measure import Place
from tuneforge.files import write_json

WRITTEN = 200
"""Rows on which models disagree that comparison.json holds; how many there are is beside them."""


@dataclass
class Comparison:
    """All that is known of the contestants side by side."""

    contestants: Sequence[Contestant]
    against: str
    """The name of the one that others are compared with; empty where none has numbers."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Metric rows; `model` and `versus` are names of contestants."""
    primary: tuple[str, str, str] | None = None
    """(evaluator, metric, set) that decides."""
    disagreements: Disagreements | None = None
    refusals: list[str] = field(default_factory=list)
    """Why numbers do not compare: other protocols."""
    notes: list[str] = field(default_factory=list)
    config: facts.Differences = field(default_factory=list)
    data: facts.Differences = field(default_factory=list)

    @property
    def able(self) -> list[Contestant]:
        """Those that have numbers."""
        return [one for one in self.contestants if not one.status]

    def deciding(self) -> list[Mapping[str, Any]]:
        """The differences of the number that decides, in the order of the contestants."""
        rows = [r for r in self.rows if r["split"] == "test" and r["versus"]]
        return [r for r in rows if (r["evaluator"], r["metric"], r["set"]) == self.primary]


def compare(found: Sequence[Contestant], against: str = "") -> Comparison:
    """The first that has numbers, or the one named `against`, is what the others are compared with.

    Places where protocols differ are left out of the numbers, and named in `refusals`.
    """
    able = [one for one in found if not one.status]
    if not able:
        return Comparison(found, "")
    rival = next((one for one in able if one.name == against), able[0])
    here = places(able)
    made = Comparison(found, rival.name, refusals=here.refusals, notes=here.left_out)
    made.config, made.data = facts.config_differences(found), facts.data_differences(found)
    if here.shared:
        made.rows, notes = figures.rows(able, here.shared, rival)
        made.notes += notes
        made.primary = _primary(made.rows, rival)
        made.disagreements = _apart(able, here.shared, made.primary)
    return made


def _primary(rows: Sequence[Mapping[str, Any]], rival: Contestant) -> tuple[str, str, str] | None:
    """What decides about the rival's own run where all have it, else the first number on a target test set."""
    own = (rival.metrics.get("verdict") or {}).get("primary") or {}
    tested = [r for r in rows if r["split"] == "test"]
    known = [(r["evaluator"], r["metric"], r["set"]) for r in tested]
    wanted = (own.get("evaluator"), own.get("metric"), own.get("set"))
    targets = [key for key, row in zip(known, tested, strict=True) if row["role"] == "target"]
    return next((key for key in known if key == wanted), next(iter([*targets, *known]), None))


def _apart(
    able: Sequence[Contestant], shared: Mapping[Place, str], primary: tuple[str, str, str] | None
) -> Disagreements | None:
    if primary is None:
        return None
    evaluator, _, name = primary
    mine = [p for p in shared if p.evaluator == evaluator and p.split == "test"]
    place = next((p for p in mine if p.set == name), next(iter(mine), None))
    if place is None or any(not one.samples for one in able):
        return None
    return disagreements(able, place)


def write(folder: Path, made: Comparison, **facts_of: Any) -> None:
    """comparison.json and comparison.csv. `facts_of` are further keys of comparison.json."""
    write_json(folder / "comparison.json", {"schema": 1, **facts_of, **as_json(made)})
    with (folder / "comparison.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in made.rows for key in row)))
        writer.writeheader()
        writer.writerows(made.rows)


def as_json(made: Comparison) -> dict[str, Any]:
    """What comparison.json holds of it."""
    return {
        "against": made.against,
        "runs": [_run(one) for one in made.contestants],
        "rows": made.rows,
        "refusals": made.refusals,
        "notes": made.notes,
        "config": {key: dict(zip(_names(made), values, strict=True)) for key, values in made.config},
        "data": {key: dict(zip(_names(made), values, strict=True)) for key, values in made.data},
        "disagreements": _written(made.disagreements),
    }


def _names(made: Comparison) -> list[str]:
    return [one.name for one in made.contestants]


def _run(one: Contestant) -> dict[str, Any]:
    return {
        "name": one.name,
        "folder": str(one.folder),
        "model": one.variant,
        "status": one.status or str(one.record.get("status") or ""),
        "decision": one.decision,
        "cost": facts.cost(one),
    }


def _written(found: Disagreements | None) -> dict[str, Any] | None:
    if found is None:
        return None
    rows = [{"id": row.sample["id"], "place": row.sample.get("place"), "scores": row.scores} for row in found.rows]
    return {**found.place._asdict(), "of": found.total, "count": len(rows), "rows": rows[:WRITTEN]}
