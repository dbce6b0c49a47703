"""Encoded rows as batches: single rows or packs, for training and for validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneforge.rows import Encoded
from tuneforge.training.batches.units import Units
from tuneforge.training.text.spool import EncodedRows, Parts

if TYPE_CHECKING:
    from tuneforge.components import Strategy
    from tuneforge.rows import Batch, Row
    from tuneforge.training.batches.loader import Unit
    from tuneforge.training.text.encode import EncodedSet


class Feed:
    """The rows of one set, and the units (rows or packs of rows) in which they enter the model."""

    def __init__(self, encoded: EncodedSet, strategy: Strategy, pad: int, packing: bool) -> None:
        rows = encoded.rows
        self.rows = rows.copy() if isinstance(rows, EncodedRows) else list(rows)
        self.sources = encoded.sources
        self.strategy, self.pad, self.packing = strategy, pad, packing
        counted = encoded.sizes
        self._sizes: Any = (
            counted if counted is not None else np.array([self._size(row) for row in rows]).reshape(-1, 2)
        )
        self.units = Units.single(len(rows))
        if packing:
            from tuneforge.training.batches.packing import pack

            self.units = pack(self.sizes()[:, 0], encoded.max_length)

    def _size(self, row: Encoded) -> tuple[int, int]:
        return sum(_sizes(row).values()), self.strategy.loss_items(row)

    def sizes(self) -> Any:
        """(rows, 2) tokens and loss items of each row."""
        return self._sizes

    def tokens(self, units: Sequence[Unit]) -> tuple[int, int]:
        """Tokens of the units without and with the padding that they have as one batch."""
        if self.packing:
            sizes = [[sum(int(self._sizes[i, 0]) for i in unit)] for unit in units]
        else:
            rows = [_sizes(self.rows[i]) for unit in units for i in unit]
            parts = dict.fromkeys(name for row in rows for name in row)
            sizes = [[row.get(name, 0) for name in parts] for row in rows]
        return sum(map(sum, sizes)), len(sizes) * sum(map(max, zip(*sizes, strict=True)))

    def lengths(self) -> Any:
        """(units,) tokens of each unit."""
        return self.units.sums(self._sizes[:, 0])

    def longest(self) -> list[int]:
        """Places of the units, the longest first."""
        order: list[int] = np.argsort(-self.lengths(), kind="stable").tolist()
        return order

    def shortest(self) -> list[int]:
        """Places of the units, the shortest first."""
        order: list[int] = np.argsort(self.lengths(), kind="stable").tolist()
        return order

    def collate(self, rows: Sequence[Encoded]) -> Batch:
        """Padded rows."""
        return self.strategy.collate(rows, self.pad)

    def make(self, units: Sequence[Unit]) -> Batch:
        """One batch row per unit."""
        if not self.packing:
            return self.collate([self.rows[i] for unit in units for i in unit])
        from tuneforge.training.batches.collate import collate_packed

        packs = [[self.rows[i] for i in unit] for unit in units]
        longest = max(sum(int(self._sizes[i, 0]) for i in unit) for unit in units)
        return collate_packed(packs, self.pad, longest)

    def batches(self, size: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Batch, list[Row]]]:
        """Every unit once with its rows, longest first, `size` units at a time; this device's share of them."""
        order = self.longest()[rank::world]
        for start in range(0, len(order), size):
            units = [self.units[i] for i in order[start : start + size]]
            yield self.make(units), [self.sources[i] for unit in units for i in unit]


def _sizes(row: Encoded) -> dict[str, int]:
    """Tokens of each part, unread where that is possible."""
    parts = row.parts
    names = [name for name in parts if name.endswith("input_ids")]
    if isinstance(parts, Parts):
        return {name: parts.lists[name].size(parts.at) for name in names}
    return {name: len(parts[name]) for name in names}
