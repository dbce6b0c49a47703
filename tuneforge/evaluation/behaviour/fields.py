"""What evaluators read of a row beside what a model sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuneforge.errors import ConfigError, nearest
from tuneforge.rows import Row, content_hash


def told_apart(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """What names the rows of a set: two sets may ask the same with other kept columns or groups."""
    return tuple((row.source, row.id or content_hash(row.columns)) for row in rows)


def field_of(row: Row, name: str, evaluator: str) -> Any:
    """A kept column, or a column of the row; ConfigError where it has neither, saying how to keep it."""
    for found in (row.fields, row.columns):
        if name in found:
            return found[name]
    known = [*row.fields, *row.columns]
    raise ConfigError(
        f"evaluator.{evaluator}.field={name}: {row.place} has no such field ({', '.join(known)});"
        f" say {row.source or 'test.NAME'}.keep=[{name}].{nearest(name, known)}"
    )


def texts_of(row: Row, name: str, evaluator: str) -> list[str]:
    """The values of a field as texts, those of a list or one; not what is empty."""
    value = field_of(row, name, evaluator)
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [str(one) for one in values if one is not None and str(one).strip()]
