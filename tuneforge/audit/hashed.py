"""Rows as hashes of their words, made once for everything that looks for words in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tuneforge.preparation import compared, signature
from tuneforge.preparation.near import signatures
from tuneforge.preparation.shingles import runs, spaced, word_hashes
from tuneforge.rows import Row

if TYPE_CHECKING:
    from numpy import ndarray

BATCH = 1024
"""Rows whose words are hashed at once."""
BLOCK = 200_000
"""Rows whose signatures are held at once: some 900 bytes of each while they are sorted."""
HELD = 32_000_000
"""Words that are held for the next pass (256 MB); those of further rows are hashed again."""


@dataclass
class Hashed:
    """The words of rows, whole, as `signature.bare` leaves them."""

    rows: Sequence[Row]
    _held: dict[int, tuple[ndarray, list[int]]] = field(default_factory=dict)
    _free: int = HELD
    _signed: dict[tuple[float, int], tuple[ndarray, ndarray]] = field(default_factory=dict)

    def runs(self, size: int) -> Iterator[tuple[int, ndarray, ndarray]]:
        """(number of the first row, hashes of all runs of `size` words, where each row's begin), batch after batch."""
        for start in range(0, len(self.rows), BATCH):
            words, lengths = self._batch(start)
            yield start, *runs(spaced(words, lengths, size - 1), lengths, size)

    def blocks(self) -> Iterator[tuple[int, Hashed]]:
        """(number of the first row, BLOCK rows), one block after the other; itself where that is all."""
        if len(self.rows) <= BLOCK:
            yield 0, self
            return
        for start in range(0, len(self.rows), BLOCK):
            yield start, Hashed(self.rows[start : start + BLOCK])

    def signatures(self, threshold: float, seed: int) -> tuple[ndarray, ndarray]:
        """As `near.signatures` makes them of single words, whose Jaccard similarity is to be the threshold or more."""
        key = (threshold, seed)
        if key not in self._signed:
            some = ((hashes, offsets) for _, hashes, offsets in self.runs(1))
            self._signed[key] = signatures(some, len(self.rows), threshold, seed)
        return self._signed[key]

    def _batch(self, start: int) -> tuple[ndarray, list[int]]:
        if start in self._held:
            return self._held[start]
        texts = [signature.bare(compared.text(row.columns)) for row in self.rows[start : start + BATCH]]
        made = word_hashes(texts), [text.count(" ") + 1 if text else 0 for text in texts]
        if made[0].size <= self._free:
            self._free -= made[0].size
            self._held[start] = made
        return made
