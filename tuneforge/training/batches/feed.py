"""Encoded rows as batches: single rows or packs, for training and for validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tuneforge.rows import Encoded

if TYPE_CHECKING:
    from tuneforge.components import Strategy
    from tuneforge.rows import Batch, Row
    from tuneforge.training.batches.loader import Unit
    from tuneforge.training.text.encode import EncodedSet


class Feed:
    """The rows of one set, and the units (rows or packs of rows) in which they enter the model."""

    def __init__(self, encoded: EncodedSet, strategy: Strategy, pad: int, packing: bool) -> None:
        self.rows = list(encoded.rows)
        self.sources = list(encoded.sources)
        self.strategy, self.pad, self.packing = strategy, pad, packing
        self.units: list[Unit] = [[i] for i in range(len(self.rows))]
        if packing:
            from tuneforge.training.batches.packing import pack

            self.units = [list(unit) for unit in pack(self.rows, encoded.max_length)]

    def sizes(self) -> list[tuple[int, int]]:
        """(tokens, loss items) of each row."""
        return [(_tokens(row), self.strategy.loss_items(row)) for row in self.rows]

    def tokens(self, units: Sequence[Unit]) -> tuple[int, int]:
        """Tokens of the units without and with the padding that they have as one batch."""
        if self.packing:
            sizes = [[sum(len(self.rows[i].parts["input_ids"]) for i in unit)] for unit in units]
        else:
            rows = [self.rows[i].parts for unit in units for i in unit]
            parts = dict.fromkeys(name for row in rows for name in row if name.endswith("input_ids"))
            sizes = [[len(row.get(name, ())) for name in parts] for row in rows]
        return sum(map(sum, sizes)), len(sizes) * sum(map(max, zip(*sizes, strict=True)))

    def lengths(self) -> list[int]:
        """Tokens of each unit."""
        tokens = [_tokens(row) for row in self.rows]
        return [sum(tokens[i] for i in unit) for unit in self.units]

    def collate(self, rows: Sequence[Encoded]) -> Batch:
        """Padded rows."""
        return self.strategy.collate(rows, self.pad)

    def make(self, units: Sequence[Unit]) -> Batch:
        """One batch row per unit."""
        if not self.packing:
            return self.collate([self.rows[i] for unit in units for i in unit])
        from tuneforge.training.batches.collate import collate_packed

        packs = [[self.rows[i] for i in unit] for unit in units]
        longest = max(sum(len(row.parts["input_ids"]) for row in pack) for pack in packs)
        return collate_packed(packs, self.pad, longest)

    def batches(self, size: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Batch, list[Row]]]:
        """Every unit once with its rows, longest first, `size` units at a time; this device's share of them."""
        order = sorted(self.units, key=lambda unit: -sum(_tokens(self.rows[i]) for i in unit))[rank::world]
        for start in range(0, len(order), size):
            units = order[start : start + size]
            yield self.make(units), [self.sources[i] for unit in units for i in unit]


def _tokens(row: Encoded) -> int:
    return sum(len(ids) for name, ids in row.parts.items() if name.endswith("input_ids"))
