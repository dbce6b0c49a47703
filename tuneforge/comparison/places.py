"""Which numbers of several runs may be compared: those of one protocol (rows, references, scoring, decoding)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tuneforge.comparison.configured import measuring
from tuneforge.comparison.contestants import Contestant
from tuneforge.evaluation.measure import Place
from tuneforge.evaluation.tidy import POOLED

NAMED = 3
"""Rows that are named where sets differ."""


@dataclass
class Places:
    """Where all have a number under one protocol, why that is not so elsewhere, and what only some have."""

    shared: dict[Place, str] = field(default_factory=dict)
    """Place → its protocol."""
    refusals: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def places(able: Sequence[Contestant]) -> Places:
    """Over the held-out places of contestants that have numbers; on training rows protocols differ as the data does."""
    protocols = [_protocols(one) for one in able]
    found = Places()
    refused: dict[str, list[Place]] = {}
    lonely: dict[str, list[Place]] = {}
    for place in dict.fromkeys(place for one in protocols for place in one):
        having = [one for one, mine in zip(able, protocols, strict=True) if place in mine]
        if len(having) < len(able):
            lonely.setdefault(", ".join(one.name for one in having), []).append(place)
            continue
        different = [one for one, mine in zip(able, protocols, strict=True) if mine[place] != protocols[0][place]]
        if not different:
            found.shared[place] = protocols[0][place]
        elif place.split == "train":
            found.left_out.append(
                f"{_where([place])}: other rows trained in {', '.join(one.name for one in different)}"
            )
        else:
            refused.setdefault(why(place, able[0], different[0]), []).append(place)
    found.left_out += [f"measured only in {names}: {_where(here)}" for names, here in lonely.items()]
    found.refusals = [f"{_where(here)}: {reason}" for reason, here in refused.items()]
    return found


def _where(here: Sequence[Place]) -> str:
    """`test.news (rouge, exact_match)` for places of one set."""
    sets = dict.fromkeys(f"{place.split}.{place.set}" for place in here)
    return f"{', '.join(sets)} ({', '.join(dict.fromkeys(place.evaluator for place in here))})"


def why(place: Place, one: Contestant, other: Contestant) -> str:
    """What differs between two protocols, by what the directories say."""
    reasons = [*_rows(place, one, other), *_settings(place, one, other), *_versions(one, other)]
    text = (
        "; ".join(reasons)
        or "what neither config nor samples.jsonl tells: decoding, classes, kept columns, versions of what scores"
    )
    return f"{one.name} and {other.name} differ in {text}"


def _protocols(one: Contestant) -> dict[Place, str]:
    return {Place(r["evaluator"], r["split"], r["set"]): str(r["protocol"]) for r in one.rows if r["set"] != POOLED}


def _rows(place: Place, one: Contestant, other: Contestant) -> list[str]:
    first, second = ({s["id"]: s for s in _samples(place, c)} for c in (one, other))
    if not first or not second:
        return [f"{c.name} has no samples.jsonl of it" for c, rows in ((one, first), (other, second)) if not rows]
    if first.keys() != second.keys():
        both = len(first.keys() & second.keys())
        only = [str(s.get("place") or key) for key, s in second.items() if key not in first][:NAMED]
        named = f"; only in {other.name}: {', '.join(only)}" if only else ""
        return [f"their rows ({len(first):,} and {len(second):,}, of which {both:,} are the same{named})"]
    return ["the order of the rows"] if list(first) != list(second) else []


def _samples(place: Place, one: Contestant) -> list[dict[str, Any]]:
    return [s for s in one.samples if (s.get("split"), s.get("set")) == (place.split, place.set)]


def _settings(place: Place, one: Contestant, other: Contestant) -> list[str]:
    """Values of the evaluator that differ, defaults among them; nothing where it cannot be had here."""
    mine, theirs = (measuring(c.folder, [place.evaluator])[0].evaluator.get(place.evaluator) for c in (one, other))
    if mine is None or theirs is None:
        return []
    values, others = asdict(mine), asdict(theirs)
    keys = [k for k in {**values, **others} if k != "sets" and values.get(k) != others.get(k)]
    return [f"evaluator.{place.evaluator}.{k} ({values.get(k)} and {others.get(k)})" for k in keys]


def _versions(one: Contestant, other: Contestant) -> list[str]:
    mine, theirs = (c.record.get("versions") or {} for c in (one, other))
    return [f"{k} {mine[k]} and {theirs[k]}" for k in mine if k in theirs and mine[k] != theirs[k]]
