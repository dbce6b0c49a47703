"""What texts are cut into to be compared: runs of characters or of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tuneforge.preparation import signature

if TYPE_CHECKING:
    from numpy import ndarray

ODD = 0x9E3779B97F4A7C15
"""An odd multiplier of 64 bits (the golden ratio's): what it makes of different runs is different but by chance."""


class Unit(StrEnum):
    """What a shingle is made of."""

    characters = "characters"
    words = "words"


@dataclass(frozen=True)
class Shingling:
    """Runs of `size` characters, case and whitespace aside, or of `size` words, punctuation aside too.

    A text shorter than a run is one shingle. Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.2.
    """

    unit: Unit = Unit.characters
    size: int = 5

    def folded(self, text: str) -> str:
        """The text as it is compared."""
        return signature.folded(text) if self.unit is Unit.characters else signature.bare(text)

    def of(self, text: str) -> frozenset[str]:
        """The different shingles of a text; none of an empty one."""
        text, n = self.folded(text), self.size
        if self.unit is Unit.characters:
            return frozenset(text[i : i + n] for i in range(max(1, len(text) - n + 1))) if text else frozenset()
        words = text.split()
        return frozenset(" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1)) if words)

    def hashes(self, texts: Sequence[str]) -> tuple[ndarray, ndarray]:
        """Hashes of all shingles, one text after the other (uint64), and where each text's begin (rows + 1)."""
        folded = [self.folded(text) for text in texts]
        if self.unit is Unit.characters:
            gap = "\0" * (self.size - 1)
            return runs(_codes(gap.join(folded)), [len(text) for text in folded], self.size)
        lengths = [text.count(" ") + 1 if text else 0 for text in folded]
        return runs(spaced(word_hashes(folded), lengths, self.size - 1), lengths, self.size)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared shingles over all; 0 where either has none."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def combined(values: ndarray) -> ndarray:
    """One hash of each run of integers along the last axis (uint64)."""
    import numpy as np

    total = np.zeros(values.shape[:-1], np.uint64)
    for step in range(values.shape[-1]):
        total = mixed(total * np.uint64(ODD) + values[..., step] + np.uint64(1))
    return total


def word_hashes(texts: Sequence[str]) -> ndarray:
    """A hash of every word of texts with one space between words (uint64): a polynomial in its characters."""
    import numpy as np

    codes = np.frombuffer(" ".join(text for text in texts if text).encode("utf-32-le", "surrogatepass"), np.uint32)
    if not codes.size:
        return np.zeros(0, np.uint64)
    gaps = codes == ord(" ")
    begins = np.concatenate([[0], np.flatnonzero(gaps) + 1])
    place = np.arange(codes.size) - np.repeat(begins, np.diff(begins, append=codes.size))
    powers = np.full(int(place.max()) + 1, ODD, np.uint64).cumprod(dtype=np.uint64)
    values = mixed(codes.astype(np.uint64) + np.uint64(1)) * powers[place]
    values[gaps] = 0
    return mixed(np.add.reduceat(values, begins))


def runs(units: ndarray, lengths: Sequence[int], size: int) -> tuple[ndarray, ndarray]:
    """Hashes of every run of `size` units within each text (uint64), and where each text's runs begin.

    Texts stand apart by `size` - 1 zeros; a shorter text is one run, an empty one none.
    """
    import numpy as np

    length = np.asarray(lengths, np.int64)
    begins = np.concatenate([[0], np.cumsum(length + size - 1)])[:-1]
    counts = np.where(length > 0, np.maximum(length - size + 1, 1), 0)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    padded = np.concatenate([units, np.zeros(size, np.uint64)])
    total = padded[: units.size].copy()
    for step in range(1, size):
        total *= np.uint64(ODD)
        total += padded[step : step + units.size]
    starts = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], counts)
    return mixed(total[starts]), offsets.astype(np.uint64)


def spaced(units: ndarray, lengths: Sequence[int], zeros: int) -> ndarray:
    """The units of all texts with that many zeros between two texts."""
    import numpy as np

    made = np.zeros(len(units) + zeros * max(0, len(lengths) - 1), np.uint64)
    made[np.arange(len(units)) + np.repeat(np.arange(len(lengths)) * zeros, lengths)] = units
    return made


def mixed(values: ndarray) -> ndarray:
    """Every bit of a value in every bit of the result (splitmix64)."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))  # type: ignore[no-any-return]


def _codes(text: str) -> ndarray:
    """A random-looking number for each character (uint64), 0 for the character 0."""
    import numpy as np

    return mixed(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64))
