"""Vectors that are near others: k-means, and all pairs of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tuneforge.preparation.near import Near

if TYPE_CHECKING:
    from numpy import ndarray

PER_CLUSTER = 2000
"""Vectors for each cluster."""
CELLS = 2**22
"""Cosines in memory at once: 16 MiB."""


def near(vectors: ndarray, kinds: Sequence[str], threshold: float, clusters: int | None, seed: int) -> Iterator[Near]:
    """Each vector whose cosine to one before it that is not itself reported reaches the threshold, with the nearest.

    `vectors` is (n, width) float32 of length 1, in the order in which they stay; those of different kinds are never
    near. Abbas et al. (2023), SemDeDup, arXiv:2303.09540, which compares within the clusters of k-means.
    """
    import numpy as np

    found = _clusters(vectors, clusters or -(-len(vectors) // PER_CLUSTER), seed)
    codes = np.unique(np.asarray(kinds), return_inverse=True)[1] if len(kinds) else np.zeros(0, int)
    for cluster in np.unique(found):
        yield from _within(vectors, codes, np.flatnonzero(found == cluster), threshold)


def _clusters(vectors: ndarray, count: int, seed: int) -> ndarray:
    """(n,) cluster of each vector; one cluster where there are few vectors."""
    import numpy as np
    from sklearn.cluster import MiniBatchKMeans

    if count <= 1 or len(vectors) <= count:
        return np.zeros(len(vectors), np.int64)
    means = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=max(2048, 3 * count))
    return means.fit_predict(vectors)  # type: ignore[no-any-return]


def _within(vectors: ndarray, kinds: ndarray, members: ndarray, threshold: float) -> Iterator[Near]:
    """The near vectors of one cluster, whose numbers are ascending; a block of rows against all before them."""
    import numpy as np

    mine, stays = vectors[members], np.ones(len(members), bool)
    block = max(1, CELLS // len(members))
    for start in range(0, len(members), block):
        stop = min(start + block, len(members))
        cosines = mine[start:stop] @ mine[:stop].T
        cosines[kinds[members[start:stop], None] != kinds[members[None, :stop]]] = -1
        for at in np.flatnonzero((np.tril(cosines, start - 1) >= threshold - 1e-6).any(axis=1)) + start:
            before = np.where(stays[:at], cosines[at - start, :at], -1)
            best = int(before.argmax())
            if before[best] >= threshold - 1e-6:
                stays[at] = False
                yield Near(int(members[at]), int(members[best]), min(1.0, float(before[best])))
