"""Several rows in one sequence, with as little left over as best-fit decreasing leaves."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence

from tuneforge.rows import Encoded


def pack(rows: Sequence[Encoded], max_length: int) -> list[list[int]]:
    """Indices of the rows of each pack. Every row stands in exactly one; none is cut.

    Best-fit decreasing over the whole set: the longest row first, each into the fullest pack that still
    holds it. The same rows always give the same packs. ValueError for a row longer than `max_length`.
    """
    lengths = [len(row.parts["input_ids"]) for row in rows]
    packs: list[list[int]] = []
    open_packs: defaultdict[int, list[int]] = defaultdict(list)  # room left → packs that have it
    rooms: list[int] = []  # the keys of open_packs that are not empty, ascending
    for i in sorted(range(len(rows)), key=lambda i: -lengths[i]):
        if lengths[i] > max_length:
            raise ValueError(f"a row of {lengths[i]} tokens is longer than max_length={max_length}")
        at = bisect_left(rooms, lengths[i])
        if at == len(rooms):
            room, chosen = max_length, len(packs)
            packs.append([])
        else:
            room = rooms[at]
            chosen = open_packs[room].pop()
            if not open_packs[room]:
                del rooms[at]
        packs[chosen].append(i)
        left = room - lengths[i]
        if not open_packs[left]:
            insort(rooms, left)
        open_packs[left].append(chosen)
    return packs


def fill(packs: Sequence[Sequence[int]], rows: Sequence[Encoded], max_length: int) -> float:
    """Share of the packs' tokens that are no padding, 0 to 1."""
    used = sum(len(rows[i].parts["input_ids"]) for p in packs for i in p)
    return used / (len(packs) * max_length) if packs else 0.0
