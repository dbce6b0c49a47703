"""Run the transforms over rows, and prove that none of them loses a row silently."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tuneforge.components import Context, Transform
from tuneforge.errors import PluginError
from tuneforge.preparation.messages import kind_of
from tuneforge.preparation.store import Pool, pool
from tuneforge.rows import Rejected, Row, content_hash

EXAMPLES = 5
"""Dropped rows that a report shows."""

SHOWN = 160
"""Characters around the first difference that an example shows."""

UNSHOWN = "(not shown)"
"""In the place of a text that a private transform has replaced."""

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
    """The first rows that changed, or that were made of others, before and after."""
    excerpts: list[str] = field(default_factory=list)
    """How the rows of `examples` begin."""

    @property
    def idle(self) -> bool:
        """Nothing happened, and nothing was counted."""
        return not any((self.reasons, self.changed, self.added, self.labelled, self.counts))


@dataclass(frozen=True)
class Transformed:
    """Rows after one transform, those it dropped, and the report."""

    rows: Sequence[Row]
    dropped: list[Rejected]
    report: TransformReport


def transform(key: str, component: Transform, rows: Iterable[Row], set_name: str, context: Context) -> Transformed:
    """Apply one transform, in one pass. PluginError if a row is neither yielded nor rejected."""
    began = time.perf_counter()
    context.counts.clear()
    ledger = Ledger(key, rows, pool(context))
    for item in component.apply(ledger.given(), context):
        ledger.take(item)
    ledger.prove(component)
    report = ledger.report(set_name, began, context)
    return Transformed(ledger.kept, ledger.dropped, discreet(report) if component.private else report)


def discreet(report: TransformReport) -> TransformReport:
    """What a private transform shows: what is new, neither what it replaced nor the rows that it dropped."""
    return replace(report, changes=[replace(one, before=UNSHOWN) for one in report.changes], excerpts=[])


def veiled(report: TransformReport) -> TransformReport:
    """A report without anything that rows say, for what comes before a private transform."""
    return replace(report, examples=[], changes=[], excerpts=[])


class Ledger:
    """Holds what a transform yields against what it was given; only rows not yet answered for are held to compare."""

    def __init__(self, key: str, rows: Iterable[Row], pool: Pool | None = None) -> None:
        self.key = key
        self.kept: Pool = [] if pool is None else pool
        self.dropped: list[Rejected] = []
        self.changes: list[Change] = []
        self.before = self.changed = self.added = self.labelled = 0
        self._rows = iter(rows)
        self._open: dict[Place, list[Row]] = {}

    def given(self) -> Iterator[Row]:
        """The rows, each noted as it is handed out."""
        for row in self._rows:
            self.before += 1
            self._open.setdefault(_place(row), []).append(row)
            yield row

    def take(self, item: Row | Rejected) -> None:
        """A row that came out: dropped, as it was, changed, or new."""
        if isinstance(item, Rejected):
            self._original(item.row)
            bare = len(self.dropped) >= EXAMPLES and not isinstance(self.kept, list)
            self.dropped.append(item._replace(row=replace(item.row, columns={})) if bare else item)
            return
        before = self._original(item)
        if before is None:
            self.added += 1
            if self.kept and str(item.line).startswith(f"{self.kept[-1].line}~"):  # made of the row before it
                self._show(self.kept[-1], item)
            self.kept.append(self._touched(item))
            return
        self.labelled += before.task != item.task
        if before is not item and before.columns != item.columns:
            item = self._touched(item)
            self.changed += 1
            self._show(before, item)
        self.kept.append(item)

    def _show(self, before: Row, after: Row) -> None:
        if len(self.changes) < EXAMPLES:
            self.changes.append(_change(before, after))

    def _touched(self, row: Row) -> Row:
        return replace(row, history=(*row.history, self.key), id=content_hash(row.columns))

    def _original(self, row: Row) -> Row | None:
        """The row that it was, now answered for; None where no open row stood there. `12#3` is a piece of row 12."""
        source, file, line = _place(row)
        whole = str(line).rpartition("#")[0]
        for at in (line, *([whole, int(whole)] if whole.isdecimal() else [whole] if whole else [])):
            if found := self._open.get((source, file, at)):
                at_hand = next((i for i, one in enumerate(found) if one is row), 0)
                original = found.pop(at_hand)
                if not found:
                    del self._open[source, file, at]
                return original
        return None

    def prove(self, component: Transform) -> None:
        """PluginError for a row that was given, or could have been taken, and did not come out."""
        for _ in self.given():
            pass
        lost = [row for rows in self._open.values() for row in rows]
        if lost:
            raise PluginError(
                f"transform.{self.key} ({type(component).__module__}.{type(component).__name__}) lost {len(lost):,} "
                f"rows silently, the first is {lost[0].place}. A transform yields every row, or Rejected with a reason"
            )

    def report(self, set_name: str, began: float, context: Context) -> TransformReport:
        """The figures, with the first examples."""
        return TransformReport(
            name=self.key,
            before=self.before,
            after=len(self.kept),
            reasons=dict(Counter(kind_of(d.reason) for d in self.dropped).most_common()),
            examples=[f"{d.row.place}: {d.reason}" for d in self.dropped[:EXAMPLES]],
            seconds=time.perf_counter() - began,
            set=set_name,
            changed=self.changed,
            added=self.added,
            labelled=self.labelled,
            counts=dict(context.counts),
            changes=self.changes,
            excerpts=[_text(d.row)[:SHOWN] for d in self.dropped[:EXAMPLES]],
        )


def _change(before: Row, after: Row) -> Change:
    """Both texts from a little before the first character in which they differ."""
    texts = [_text(before), _text(after)]
    same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    start = max(0, same - SHOWN // 4)
    shown = [("…" if start else "") + text[start : start + SHOWN] for text in texts]
    return Change(after.place, *shown)


def _text(row: Row) -> str:
    return json.dumps(dict(row.columns), ensure_ascii=False, default=str)


def _place(row: Row) -> Place:
    return row.source, row.file, row.line
