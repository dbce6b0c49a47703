"""Which rows share a sequence: 8 bytes a row, and 8 a unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np


class Units(Sequence[list[int]]):
    """Lists of row numbers: single rows, or packs."""

    def __init__(self, rows: Any, ends: Any) -> None:
        """`rows` (n,) in the order of their units; `ends` (units + 1,) says where each begins and ends."""
        self.rows, self.ends = rows, ends

    @classmethod
    def single(cls, count: int) -> Units:
        """Every row by itself."""
        return cls(np.arange(count), np.arange(count + 1))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, at: int) -> list[int]: ...
    @overload
    def __getitem__(self, at: slice) -> list[list[int]]: ...
    def __getitem__(self, at: int | slice) -> list[int] | list[list[int]]:
        if isinstance(at, slice):
            return [self[i] for i in range(len(self))[at]]
        at = range(len(self))[at]
        found: list[int] = self.rows[self.ends[at] : self.ends[at + 1]].tolist()
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def sums(self, values: Any) -> Any:
        """(units,) sums of a value (n,) of each row."""
        totals = np.concatenate([[0], np.cumsum(values[self.rows])])
        return totals[self.ends[1:]] - totals[self.ends[:-1]]
