"""Drop rows whose content stands in the data already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from tuneforge.components import Context, Transform
from tuneforge.rows import Kept, Rejected, Row


@dataclass(kw_only=True)
class ExactDedup(Transform):
    """Keep the first of rows with the same content in all columns, case and whitespace aside."""

    name: ClassVar[str] = "exact_dedup"

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """The first row of each content; the others Rejected, naming the one that is kept."""
        from tuneforge.preparation import signature

        first: dict[bytes, Row] = {}
        for row in rows:
            kept = first.setdefault(signature.content(row.columns), row)
            yield row if kept is row else Rejected(row, f"duplicate: of {kept.place}")
