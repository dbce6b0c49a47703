"""Some of the rows of a set, in an order of their own, without a copy of any."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from tuneforge.rows import Row


class View(Sequence[Row]):
    """Rows of another sequence by their places there: 8 bytes each, however large the rows; one may stand twice."""

    def __init__(self, rows: Sequence[Row], places: Sequence[int]) -> None:
        self.rows, self.places = rows, places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> View: ...
    def __getitem__(self, at: int | slice) -> Row | View:
        return View(self.rows, self.places[at]) if isinstance(at, slice) else self.rows[self.places[at]]

    def __iter__(self) -> Iterator[Row]:
        return (self.rows[place] for place in self.places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    @property
    def distinct(self) -> View:
        """The same rows, each once, where it first stood."""
        import numpy as np

        if isinstance(self.places, range):
            return self
        places = np.asarray(self.places, np.int64)
        first = np.sort(np.unique(places, return_index=True)[1])
        return View(self.rows, array("q", places[first].tobytes()))
