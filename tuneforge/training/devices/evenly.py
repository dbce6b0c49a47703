"""Work shared out so that every process does the same number of passes, as a model that is shared out needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tuneforge.training.devices import world

if TYPE_CHECKING:
    from tuneforge.rows import Batch, Row
    from tuneforge.training.batches.feed import Feed


def even(feed: Feed, size: int) -> Iterator[tuple[Batch, list[Row], bool]]:
    """This process's batches of a set and their rows; the last is repeated, and does not count, until all are done."""
    rank, processes = world.place()
    largest = -(-len(feed.units) // processes)
    missing, last = -(-largest // size), None
    for last in feed.batches(size, rank, processes):
        yield (*last, True)
        missing -= 1
    for _ in range(missing):
        yield (*(last or next(feed.batches(size))), False)


class Passes(Iterable[tuple["Batch", bool]]):
    """The batches of `even`, moved to the device, and whether each counts; as often as they are asked for."""

    def __init__(self, feed: Feed, size: int, move: Callable[[Batch], Batch]) -> None:
        self.feed, self.size, self.move = feed, size, move

    def __iter__(self) -> Iterator[tuple[Batch, bool]]:
        return ((self.move(batch), counts) for batch, _, counts in even(self.feed, self.size))


def share(items: Sequence[int]) -> list[int]:
    """This process's part, as long as the others': some items stand in two parts where they do not divide evenly."""
    rank, processes = world.place()
    each = -(-len(items) // processes)
    return [items[i % len(items)] for i in range(rank * each, (rank + 1) * each)]
