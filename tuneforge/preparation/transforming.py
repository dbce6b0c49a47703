"""Run the transforms over rows, and prove that none of them loses a row silently."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tuneforge.components import Context, Transform
from tuneforge.errors import PluginError
from tuneforge.preparation.messages import kind_of
from tuneforge.rows import Rejected, Row, content_hash

EXAMPLES = 5
"""Dropped rows that a report shows."""

SHOWN = 160
"""Characters around the first difference that an example shows."""

Place = tuple[str, str, int | str]


@dataclass(frozen=True)
class Change:
    """A row that came out with other columns: where it first differs."""

    place: str
    before: str
    after: str


@dataclass(frozen=True)
class TransformReport:
    """What a transform did to one set of rows."""

    name: str
    """Key in the config."""
    before: int
    after: int
    reasons: dict[str, int]
    """Kind of reason: rows dropped for it."""
    examples: list[str]
    """`place: reason` of the first rows dropped."""
    seconds: float
    set: str = "train"
    """train, or the held-out set as `test.<key>`."""
    changed: int = 0
    """Rows that came out with other columns."""
    added: int = 0
    """Rows that were not there before."""
    labelled: int = 0
    """Rows that came out with another kind of task."""
    counts: dict[str, int] = field(default_factory=dict)
    """What the transform counted by itself: repairs, entities, languages, …"""
    changes: list[Change] = field(default_factory=list)
    """The first rows that changed, before and after."""


@dataclass(frozen=True)
class Transformed:
    """Rows after one transform, those it dropped, and the report."""

    rows: list[Row]
    dropped: list[Rejected]
    report: TransformReport


def transform(key: str, component: Transform, rows: Sequence[Row], set_name: str, context: Context) -> Transformed:
    """Apply one transform. PluginError if a row is neither yielded nor rejected."""
    began = time.perf_counter()
    context.counts.clear()
    out = list(component.apply(iter(rows), context))
    dropped = [item for item in out if isinstance(item, Rejected)]
    _nothing_lost(key, component, rows, out)
    kept = _with_history(key, rows, [item for item in out if isinstance(item, Row)])
    before = {_place(row): row for row in rows}
    touched = [row for row in kept if row.history and row.history[-1] == key]
    changed = [row for row in touched if _place(row) in before]
    report = TransformReport(
        name=key,
        before=len(rows),
        after=len(kept),
        reasons=dict(Counter(kind_of(d.reason) for d in dropped).most_common()),
        examples=[f"{d.row.place}: {d.reason}" for d in dropped[:EXAMPLES]],
        seconds=time.perf_counter() - began,
        set=set_name,
        changed=len(changed),
        added=len(touched) - len(changed),
        labelled=sum(row.task != before[_place(row)].task for row in kept if _place(row) in before),
        counts=dict(context.counts),
        changes=[_change(before[_place(row)], row) for row in changed[:EXAMPLES]],
    )
    return Transformed(kept, dropped, report)


def _change(before: Row, after: Row) -> Change:
    """Both texts from a little before the first character in which they differ."""
    texts = [json.dumps(dict(row.columns), ensure_ascii=False, default=str) for row in (before, after)]
    same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    start = max(0, same - SHOWN // 4)
    shown = [("…" if start else "") + text[start : start + SHOWN] for text in texts]
    return Change(after.place, *shown)


def _place(row: Row) -> Place:
    return row.source, row.file, row.line


def _nothing_lost(key: str, component: Transform, rows: Sequence[Row], out: Sequence[Row | Rejected]) -> None:
    lost = Counter(map(_place, rows))
    lost.subtract(_place(item.row if isinstance(item, Rejected) else item) for item in out)
    places = [place for place, count in lost.items() if count > 0]
    if places:
        source, file, line = places[0]
        raise PluginError(
            f"transform.{key} ({type(component).__module__}.{type(component).__name__}) lost {len(places):,} rows "
            f"silently, the first is {file or source}:{line}. A transform yields every row, or Rejected with a reason"
        )


def _with_history(key: str, rows: Sequence[Row], kept: Sequence[Row]) -> list[Row]:
    """Rows that changed or are new bear the transform in their history, and a new content hash."""
    untouched = {id(row) for row in rows}
    before = {_place(row): row.columns for row in rows}
    made = []
    for row in kept:
        if id(row) not in untouched and before.get(_place(row)) != row.columns:
            row = replace(row, history=(*row.history, key), id=content_hash(row.columns))
        made.append(row)
    return made
