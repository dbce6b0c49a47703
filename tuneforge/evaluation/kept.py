"""Columns of the file that evaluators read beside the canonical ones: kept by `test.X.keep`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tuneforge.errors import ConfigError, nearest
from tuneforge.rows import Row

LONGEST = 200
"""Letters of a reason that are shown."""


def kept(rows: Sequence[Row], field: str, evaluator: str) -> list[Any]:
    """The field's value in every row. ConfigError names the rows that lack it, or what has to be kept."""
    lacking = [row for row in rows if row.fields.get(field) is None]
    if not lacking:
        return [row.fields[field] for row in rows]
    source, known = lacking[0].source, list(dict.fromkeys(name for row in rows for name in row.fields))
    if len(lacking) < len(rows):
        raise ConfigError(
            f"evaluator={evaluator} on {source}: {len(lacking)} of {len(rows)} rows have no '{field}', the first at"
            f" {lacking[0].place}"
        )
    raise ConfigError(
        f"evaluator={evaluator} on {source}: no row has a kept column '{field}'"
        f" ({', '.join(known) or 'none is kept'}).{nearest(field, known)} Keep the file's column of that name with"
        f" {source}.keep=[{','.join([*known, field])}], or name the sets that have it with evaluator.{evaluator}.sets"
    )


def reasons(rows: Sequence[Row], found: Sequence[tuple[str, str]]) -> str:
    """`; 3 no JSON (first a.jsonl:2: …)` for each kind of fault, the most frequent first; an empty kind is none."""
    counts = Counter(kind for kind, _ in found if kind)
    pairs = reversed(list(zip(rows, found, strict=True)))
    first = {kind: f"{row.place}: {_printable(detail)}" for row, (kind, detail) in pairs}
    return "".join(f"; {count} {kind} (first {first[kind]})" for kind, count in counts.most_common())


def _printable(text: str) -> str:
    """What a model or its code may have said, in one line that steers no terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:LONGEST]
