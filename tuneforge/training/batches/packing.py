"""Several rows in one sequence, with as little left over as best-fit decreasing leaves."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuneforge.training.batches.units import Units


def pack(lengths: Sequence[int] | NDArray[np.int64], max_length: int) -> Units:
    """The rows of each pack, from the tokens of each row. Every row stands in exactly one; none is cut.

    Best-fit decreasing over the whole set: the longest row first, each into the fullest pack that still
    holds it. The same rows always give the same packs. ValueError for a row longer than `max_length`.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    packs = 0
    taken = np.empty(len(order), np.int64)
    open_packs: defaultdict[int, list[int]] = defaultdict(list)  # room left → packs that have it
    rooms: list[int] = []  # the keys of open_packs that are not empty, ascending
    for at, length in enumerate(np.asarray(lengths, np.int64)[order].tolist()):
        if length > max_length:
            raise ValueError(f"a row of {length} tokens is longer than max_length={max_length}")
        fitting = bisect_left(rooms, length)
        if fitting == len(rooms):
            room, chosen = max_length, packs
            packs += 1
        else:
            room = rooms[fitting]
            chosen = open_packs[room].pop()
            if not open_packs[room]:
                del rooms[fitting]
        taken[at] = chosen
        left = room - length
        if not open_packs[left]:
            insort(rooms, left)
        open_packs[left].append(chosen)
    ends = np.concatenate([[0], np.cumsum(np.bincount(taken, minlength=packs))])
    return Units(order[np.argsort(taken, kind="stable")], ends)


def fill(packs: Units, lengths: Sequence[int] | NDArray[np.int64], max_length: int) -> float:
    """Share of the packs' tokens that are no padding, 0 to 1."""
    return float(packs.sums(np.asarray(lengths)).sum()) / (len(packs) * max_length) if packs else 0.0
