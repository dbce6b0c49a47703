"""Near-duplicates in time and memory linear in the number of texts: MinHash, bands, and the true similarity.

Broder (1997), On the Resemblance and Containment of Documents; Leskovec, Rajaraman and Ullman, Mining of Massive
Datasets, 3.3 and 3.4. rensa makes the signatures. Every pair that shares a band is compared by its shingles, so that
nothing is reported that is not as similar as asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from tuneforge.preparation.shingles import Shingling, combined, jaccard

if TYPE_CHECKING:
    from numpy import ndarray

HASHES = 128
"""Hash functions of a signature."""
RECALL = 0.99
"""Share of pairs just as similar as asked that meet in a band."""
HELD = 128
"""Texts that a band's bucket holds at most: what is alike in a band but not as a whole is of one template."""
BATCH = 1024
"""Texts whose shingles are in memory at once."""


class Near(NamedTuple):
    """A text that is nearly one that is kept."""

    text: int
    kept: int
    similarity: float
    """Jaccard similarity of their shingles."""


def bands(threshold: float) -> tuple[int, int]:
    """(bands, rows of each) of which pairs at the threshold meet in one with RECALL, as long as bands as can be."""
    rows = next(r for r in range(HASHES, 0, -1) if r == 1 or 1 - (1 - threshold**r) ** (HASHES // r) >= RECALL)
    return HASHES // rows, rows


@dataclass
class Search:
    """Looks for texts that are nearly others, among `count` texts that are asked for by their number."""

    count: int
    text: Callable[[int], str]
    threshold: float = 0.8
    shingling: Shingling = field(default_factory=Shingling)
    seed: int = 0
    kind: Callable[[int], str] | None = None
    """Texts of different kinds are never near."""
    limited: int = 0
    """Texts that met more than HELD others in a band without being near: near ones may be missed among them."""

    def near(self, order: Sequence[int] | None = None) -> Iterator[Near]:
        """Each text that is as similar as asked to one before it in `order` that is not itself reported.

        So every reported text is near a text that stays, and no chain of small steps makes distant texts one.
        """
        import numpy as np

        shingles = lru_cache(maxsize=BATCH)(lambda number: self.shingling.of(self.text(number)))
        starts = range(0, self.count, BATCH)
        texts = ([self.text(n) for n in range(start, min(start + BATCH, self.count))] for start in starts)
        sketches, signed = signatures(map(self.shingling.hashes, texts), self.count, self.threshold, self.seed)
        buckets = meeting(signed)
        held: dict[int, list[int]] = {}
        for number in buckets.texts.tolist() if order is None else order:
            mine = buckets.of(number)
            others = set().union(*(held.get(bucket, ()) for bucket in mine))
            found = None
            if others:
                met = np.fromiter(sorted(others), np.int64, len(others))
                found = self._nearest(number, likely(met, sketches, sketches[number], self.threshold), shingles)
            if found is not None:
                yield found
            else:
                self.limited += _hold(number, mine, held)

    def _nearest(self, number: int, others: Sequence[int], shingles: Callable[[int], frozenset[str]]) -> Near | None:
        if self.kind is not None:
            others = [other for other in others if self.kind(other) == self.kind(number)]
        best = max(((jaccard(shingles(number), shingles(other)), -other) for other in others), default=(0.0, 0))
        return Near(number, -best[1], best[0]) if best[0] >= self.threshold else None


def signatures(
    batches: Iterable[tuple[ndarray, ndarray]], count: int, threshold: float, seed: int
) -> tuple[ndarray, ndarray]:
    """(texts, hashes) uint8, the low byte of every minimum, and (texts, bands) uint64, a hash of each band.

    The batches hold the hashes of the shingles of `count` texts, and where each text's begin (`Shingling.hashes`).
    A text without a shingle has 0 for every band.
    """
    import numpy as np

    number, rows = bands(threshold)
    sketches = np.empty((count, number * rows), np.uint8)
    signed = np.empty((count, number), np.uint64)
    start = 0
    for hashes, offsets in batches:
        stop = start + len(offsets) - 1
        digests, some = _minima(hashes, offsets, number * rows, seed)
        sketches[start:stop] = digests.astype(np.uint8)
        signed[start:stop] = combined(digests.reshape(stop - start, number, rows)) * some[:, None]
        start = stop
    return sketches, signed


def _minima(hashes: ndarray, offsets: ndarray, size: int, seed: int) -> tuple[ndarray, ndarray]:
    """(texts, size) uint64 minima, and (texts,) whether a text has a shingle."""
    import numpy as np
    from rensa import RMinHash

    count = len(offsets) - 1
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, size, seed)
    values = chain.from_iterable(matrix.to_rows())
    return np.fromiter(values, np.uint64, count * size).reshape(count, size), np.diff(offsets) > 0


def likely(met: ndarray, sketches: ndarray, sketch: ndarray, threshold: float) -> list[int]:
    """Those of `met` whose signatures do not speak against the threshold by three standard errors, the likest first.

    Li and König (2010), b-Bit Minwise Hashing: of different minima one in 256 shares its low byte.
    """
    alike = (sketches[met] == sketch).mean(axis=1)
    error = (threshold * (1 - threshold) / len(sketch)) ** 0.5
    order = (-alike).argsort(kind="stable")
    return list(met[order[alike[order] >= threshold - 3 * error]].tolist())


def _hold(number: int, buckets: Sequence[int], held: dict[int, list[int]]) -> bool:
    """Put a text that stays into its buckets; whether one of them was full."""
    full = False
    for bucket in buckets:
        others = held.setdefault(bucket, [])
        full |= len(others) >= HELD
        if len(others) < HELD:
            others.append(number)
    return full


@dataclass(frozen=True)
class Buckets:
    """Which texts share a band with others: buckets of each text, by its number."""

    texts: ndarray
    """Numbers of texts that share a band, ascending (int64)."""
    starts: ndarray
    """Where the buckets of each begin (int64, one more)."""
    buckets: ndarray
    """Numbers of buckets (int64)."""

    def of(self, number: int) -> list[int]:
        """The buckets in which a text meets others; none where it meets nobody."""
        at = int(self.texts.searchsorted(number))
        if at == len(self.texts) or self.texts[at] != number:
            return []
        return list(self.buckets[self.starts[at] : self.starts[at + 1]].tolist())


def meeting(signatures: ndarray) -> Buckets:
    """The buckets with more than one text."""
    import numpy as np

    texts, buckets, done = [], [], 0
    for column in signatures.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        fresh = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        bucket = np.cumsum(fresh) - 1
        shared = (np.bincount(bucket)[bucket] > 1) & (ordered != 0)
        texts.append(order[shared])
        buckets.append(bucket[shared] + done)
        done += len(column)
    text = np.concatenate(texts)
    order = np.argsort(text, kind="stable")
    found, starts = np.unique(text[order], return_index=True)
    return Buckets(found, np.append(starts, len(text)), np.concatenate(buckets)[order])
