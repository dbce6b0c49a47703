"""Drop rows whose content stands in the data already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from tuneforge.components import Context, Transform
from tuneforge.rows import Kept, Rejected, Row, content_hash


@dataclass(kw_only=True)
class ExactDedup(Transform):
    """Keep the first of rows with the same content in all columns."""

    name: ClassVar[str] = "exact_dedup"

    fold: bool = True
    """Rows that differ only in case or whitespace count as the same; false: every character counts."""

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """The first row of each content; the others Rejected, naming the one that is kept."""
        from tuneforge.preparation import signature

        first: dict[bytes | str, str] = {}
        for row in rows:
            content = signature.content(row.columns) if self.fold else content_hash(row.columns)
            if (kept := first.get(content)) is None:
                first[content] = row.place
                yield row
            else:
                yield Rejected(row, f"duplicate: of {kept}")
