"""Drop rows that are nearly another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.preparation.compared import Keep, Part
from tuneforge.preparation.shingles import Shingling, Unit
from tuneforge.rows import Kept, Rejected, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class NearDedup(Transform):
    """Keep one of rows that are nearly the same, by the shingles they share (MinHash).

    A row is dropped when it is as similar as `threshold` says to a row that stays; rows with different labels both
    stay. Broder (1997); the default threshold is that of Lee et al. (2022), Deduplicating Training Data Makes Language
    Models Better.
    """

    name: ClassVar[str] = "near_dedup"

    threshold: float = 0.8
    """Jaccard similarity from which two rows count as the same: shared shingles over all shingles of both."""
    compare: Part = Part.row
    """What is compared: row (all its texts), prompt (all before the last answer) or answer."""
    keep: Keep = Keep.first
    """Which row stays: the first, or the longest (of equally long ones the first)."""
    unit: Unit = Unit.characters
    """What a shingle is made of: characters (serves short texts too) or words (for long texts)."""
    size: int = 5
    """How many characters or words a shingle has."""

    def check(self, run: Run) -> Iterable[str]:
        """A threshold that means something, and shingles."""
        if not 0 < self.threshold <= 1:
            yield f"threshold={self.threshold} must be above 0 and at most 1 (exact_dedup drops equal rows)"
        if self.size < 1:
            yield f"size={self.size} must be at least 1"

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Rows in order; near-duplicates Rejected, naming the row that stays and how similar it is."""
        from tuneforge.preparation import compared
        from tuneforge.preparation.near import Search

        rows = list(rows)

        def text(number: int) -> str:
            return compared.text(rows[number].columns, self.compare)

        search = Search(
            len(rows), text, self.threshold, Shingling(self.unit, self.size), context.seed,
            kind=lambda number: repr(rows[number].columns.get("label")),
        )  # fmt: skip
        longest = self.keep is Keep.longest
        order = compared.order([text(n) for n in range(len(rows))], self.keep) if longest else None
        found = {near.text: near for near in search.near(order)}
        if search.limited:
            context.counts["rows not compared with all that may be near"] += search.limited
        for number, row in enumerate(rows):
            near = found.get(number)
            yield (
                row
                if near is None
                else Rejected(row, f"near duplicate: {near.similarity:.2f} similar to {rows[near.kept].place}")
            )
