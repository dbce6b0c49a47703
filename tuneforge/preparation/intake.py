"""One source: read its rows, recognise their layout, make them canonical, count what is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from tuneforge.components import Context, DataSource, Generator, Strategy
from tuneforge.data.nested import ABSENT, reach
from tuneforge.errors import ConfigError, nearest
from tuneforge.preparation.convert import Layout
from tuneforge.preparation.formats import layout
from tuneforge.preparation.messages import Unusable, kind_of
from tuneforge.preparation.store import Pool
from tuneforge.preparation.view import View
from tuneforge.rows import Rejected, Row, content_hash
from tuneforge.settings import Run

HEAD = 200
"""Rows that are looked at to recognise the layout."""


@dataclass(frozen=True)
class SourceReport:
    """What became of the rows of one source."""

    key: str
    """Key in the config: `alpaca` of `data.alpaca`; `synthetic.alpaca` for generated rows."""
    split: str
    """train, validation or test."""
    file: str
    format: str
    """What was detected, and why."""
    read: int
    """Rows read, usable or not."""
    kept: int
    """Rows that are usable."""
    used: int
    """Rows seen per epoch, after share, transforms and weight."""
    reasons: dict[str, int]
    """Kind of reason: rows rejected for it."""
    role: str
    extra: dict[str, int] = field(default_factory=dict)
    """Columns that nothing uses: rows that have them."""


@dataclass(frozen=True)
class Intake:
    """The rows of one source with their report."""

    report: SourceReport
    rows: Sequence[Row]
    rejected: list[Rejected]


def read_source(key: str, group: str, source: DataSource, context: Context, pool: Pool | None = None) -> Intake:
    """Read a source of `data`, `validation` or `test` into the pool; its rows bear the source `<group>.<key>`."""
    if source.limit is not None and source.limit < 1:
        raise ConfigError(f"{group}.{key}.limit={source.limit} must be at least 1")
    name, split = f"{group}.{key}", "train" if group == "data" else group
    stream = iter(islice(_reading(name, source, context), source.limit))
    head = _head(stream)
    raw = [row.columns for row in head if isinstance(row, Row)]
    found = layout(name, source, raw) if raw else None
    if raw:
        _require_kept(name, source, raw)
    counted = context.progress(chain(head, stream), f"reading {name}")
    pool = [] if pool is None else pool
    rows, rejected = _convert(counted, name, source, found, _trains(context.run, group), pool)
    if found is not None and not rows:
        _explain(name, found, rejected, raw, context.run)
    if any(kind_of(r.reason) in ("broken gzip", "broken archive") for r in rejected):
        context.note(f"warning: {source.path} is cut off after {len(rows):,} rows; nobody knows how many are lost")
    kind = f"{source.name}, {found.said}" if found else f"{source.name}, no readable row"
    report = _report(key, split, source.path, kind, rows, rejected, str(source.role), found)
    return Intake(report, rows, rejected)


def run_generator(key: str, generator: Generator, seeds: Iterable[Row], context: Context, pool: Pool) -> Intake:
    """Run a generator of `synthetic` into the pool; its rows bear the source `synthetic.<key>`."""
    name = f"synthetic.{key}"
    made = (_numbered(row, number) for number, row in enumerate(generator.generate(seeds, context), 1))
    head = list(islice(made, HEAD))
    raw = [row.columns for row in head if isinstance(row, Row)]
    found = layout(name, DataSource(), raw) if raw else None
    trains = _trains(context.run, "synthetic")
    rows, rejected = _convert(chain(head, made), name, None, found, trains, pool)
    kind = f"{generator.name}, {found.said}" if found else f"{generator.name}, no row"
    return Intake(_report(name, "train", "", kind, rows, rejected, "target", found), rows, rejected)


def _reading(name: str, source: DataSource, context: Context) -> Iterator[Row | Rejected]:
    """The rows; what is wrong with a field of the source is said with its whole key."""
    try:
        yield from source.read(context)
    except ConfigError as error:
        if not hasattr(source, str(error).partition("=")[0]):
            raise
        raise ConfigError(f"{name}.{error}") from error


def _head(stream: Iterator[Row | Rejected]) -> list[Row | Rejected]:
    """Everything up to the HEADth readable row."""
    head: list[Row | Rejected] = []
    readable = 0
    while readable < HEAD and (row := next(stream, None)) is not None:
        head.append(row)
        readable += isinstance(row, Row)
    return head


def _trains(run: Run, group: str) -> Strategy | None:
    """The strategy that must take training rows; evaluation sets serve whichever evaluator can use them."""
    return run.strategy if group in ("data", "synthetic") else None


def _convert(
    stream: Iterable[Row | Rejected],
    name: str,
    source: DataSource | None,
    found: Layout | None,
    strategy: Strategy | None,
    pool: Pool,
) -> tuple[View, list[Rejected]]:
    """The usable rows, as they stand in the pool, and the others; of most of these only their places are held."""
    before = len(pool)
    rejected: list[Rejected] = []
    for item in stream:
        if isinstance(item, Rejected):
            rejected.append(Rejected(_bare(item.row, name, len(rejected)), item.reason))
            continue
        try:
            assert found is not None
            item = replace(item, columns=found.mapped.apply(item.columns)) if found.mapped.expressions else item
            columns = found.convert(item.columns)
            if strategy is not None and not strategy.takes(columns):
                raise Unusable(f"no {strategy.record}: the row has {', '.join(columns)}")
        except Unusable as unusable:
            rejected.append(Rejected(_bare(item, name, len(rejected)), str(unusable)))
            continue
        pool.append(_row(item, columns, name, found, source))
    return View(pool, range(before, len(pool))), rejected


def _bare(row: Row, name: str, before: int) -> Row:
    """A row that is not used; beyond the first ones without what it held."""
    return replace(row, source=name, columns=row.columns if before < HEAD else {})


def _require_kept(name: str, source: DataSource, head: Sequence[Mapping[str, Any]]) -> None:
    """ConfigError for a kept column that no row has."""
    for path in source.keep:
        if all(reach(row, path) is ABSENT for row in head):
            known = list(dict.fromkeys(column for row in head for column in row))
            raise ConfigError(f"{name}.keep: no column '{path}' ({', '.join(known)}).{nearest(path, known)}")


def _row(raw: Row, columns: dict[str, Any], name: str, found: Layout, source: DataSource | None) -> Row:
    shown, keep = (source.columns.id, source.keep) if source else (None, [])
    group = raw.columns.get(found.names.get("group", ""), raw.group)
    return Row(
        columns=columns,
        source=name,
        file=raw.file,
        line=str(raw.columns[shown]) if shown and shown in raw.columns else raw.line,
        id=content_hash(columns),
        history=raw.history,
        group="" if group is None else str(group),
        fields={**raw.fields, **{path: value for path in keep if (value := reach(raw.columns, path)) is not ABSENT}},
    )


def _numbered(item: Row | Rejected, number: int) -> Row | Rejected:
    """A generated row without a place of its own gets its number."""
    if isinstance(item, Rejected):
        return Rejected(replace(item.row, line=item.row.line or number), item.reason)
    return replace(item, line=item.line or number)


def _explain(
    name: str, found: Layout, rejected: Sequence[Rejected], head: Sequence[Mapping[str, Any]], run: Run
) -> None:
    """No row at all offers what the strategy needs: then the mapping is wrong, not the rows."""
    record = run.strategy.record
    if any(kind_of(r.reason) != f"no {record}" for r in rejected if r.row.columns):
        return
    column = {"preference": "chosen", "pair": "anchor", "unpaired": "label"}.get(record, record)
    has = ", ".join(dict.fromkeys(column for columns in head for column in columns))
    raise ConfigError(
        f"{name}: strategy '{run.strategy.name}' trains on {record} rows, and no row of this source is one "
        f"({found.said}; the file has {has}). Say which column is which, for example {name}.columns.{column}=<column>"
    )


def _report(
    key: str,
    split: str,
    path: str,
    kind: str,
    rows: Sequence[Row],
    rejected: list[Rejected],
    role: str,
    found: Layout | None,
) -> SourceReport:
    return SourceReport(
        key=key,
        split=split,
        file=path,
        format=kind,
        read=len(rows) + len(rejected),
        kept=len(rows),
        used=len(rows),
        reasons=dict(Counter(kind_of(r.reason) for r in rejected).most_common()),
        role=role if split != "train" else "",
        extra=dict(found.extra) if found else {},
    )
