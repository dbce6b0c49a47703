"""What a variant puts around each row's question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge.rows import Row, content_hash


@dataclass(frozen=True)
class Prompt:
    """A way of asking: the plain one by default."""

    name: str = "zero-shot"
    examples: tuple[Row, ...] = ()
    """Rows shown with their answers before each question."""

    def shots(self, row: Row) -> Sequence[Row]:
        """The examples shown before this row, the most useful last: the first are dropped where room lacks."""
        return self.examples

    def columns(self, row: Row) -> Mapping[str, Any]:
        """The row's columns with the question as it is asked."""
        return row.columns

    def facts(self) -> dict[str, Any]:
        """JSON that tells this way of asking from others: hashed into the variant's `prompt`."""
        shots = [row.id or content_hash(row.columns) for row in self.examples]
        return {"shots": len(shots), "shot_ids": shots}


PLAIN = Prompt()
