"""Subsets of rows to a budget: spread out, representative, or of given shares. Bounded memory.

Vectors are (n, width) float32 of length 1. Ties fall by the order of rows, so callers shuffle by their seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import ndarray

BLOCK = 1024
"""Rows that are compared with all others at a time."""

REPRESENTED = 2048
"""Rows that facility location represents at most: beyond them the first so many, which callers shuffle."""


def k_center(vectors: ndarray, budget: int) -> list[int]:
    """Rows such that the farthest row from its nearest chosen one is near: greedy, from the first row on.

    The radius is at most twice the best (Gonzalez 1985; as a core set: Sener and Savarese 2018). O(n budget).
    """
    import numpy as np

    chosen = [0]
    nearest = vectors @ vectors[0]
    while len(chosen) < min(budget, len(vectors)):
        nearest[chosen[-1]] = np.inf
        farthest = int(nearest.argmin())
        chosen.append(farthest)
        np.maximum(nearest, vectors @ vectors[farthest], out=nearest)
    return chosen[:budget]


def facility_location(vectors: ndarray, budget: int) -> list[int]:
    """Rows that represent all others: each counts with its cosine to the most alike chosen one, if above 0.

    The greedy choice reaches 1 - 1/e of the best (Nemhauser, Wolsey and Fisher 1978). After a choice the gains change
    only by the rows that it represents better than those before, so all gains are kept exact: on real texts a row is
    represented better a handful of times whatever the budget: a fraction of what lazy evaluation (Minoux 1978) asks.
    """
    import numpy as np

    rows = vectors[:REPRESENTED]
    best = np.zeros(len(rows), dtype="float32")
    gain = np.zeros(len(vectors))
    _add(gain, vectors, rows, np.full(len(rows), np.inf, dtype="float32"), best)
    chosen: list[int] = []
    while len(chosen) < min(budget, len(vectors)):
        winner = int(gain.argmax())
        chosen.append(winner)
        now = np.maximum(best, rows @ vectors[winner])
        better = np.flatnonzero(now > best)
        _add(gain, vectors, rows[better], best[better], now[better])
        best = now
        gain[winner] = -np.inf
    return chosen


def _add(gain: ndarray, vectors: ndarray, rows: ndarray, before: ndarray, now: ndarray) -> None:
    """Gains, where these rows are represented by `now` and no more by `before` (infinite: they did not count)."""
    for start in range(0, len(vectors), BLOCK * 8):
        for first in range(0, len(rows), BLOCK // 2):
            part = slice(first, first + BLOCK // 2)
            alike = vectors[start : start + BLOCK * 8] @ rows[part].T
            change = (alike - now[part]).clip(min=0) - (alike - before[part]).clip(min=0)
            gain[start : start + BLOCK * 8] += change.sum(axis=1, dtype="float64")


def even(sizes: Mapping[str, int], budget: int) -> dict[str, int]:
    """How many of each class: as even as the classes allow, the budget used up, names in order where it is odd."""
    left, open_classes = budget, sorted(sizes, key=lambda name: (sizes[name], name))
    found: dict[str, int] = {}
    while open_classes:
        name = open_classes.pop(0)
        found[name] = min(sizes[name], left // (len(open_classes) + 1))
        left -= found[name]
    for name in sorted(found):
        if left and found[name] < sizes[name]:
            found[name], left = found[name] + 1, left - 1
    return found


def proportional(shares: Sequence[float], budget: int) -> list[int]:
    """Whole numbers that add up to the budget in these shares, by largest remainders."""
    exact = [share * budget for share in shares]
    found = [int(value) for value in exact]
    order = sorted(range(len(exact)), key=lambda i: (found[i] - exact[i], i))
    for index in order[: budget - sum(found)]:
        found[index] += 1
    return found


def nearest(vectors: ndarray, targets: ndarray) -> ndarray:
    """(n,) float32: cosine of each row to the most alike target."""
    import numpy as np

    blocks = [(vectors[i : i + BLOCK] @ targets.T).max(axis=1) for i in range(0, len(vectors), BLOCK)]
    return np.concatenate(blocks)
