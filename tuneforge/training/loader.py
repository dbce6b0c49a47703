"""Batches in an order that depends on the seed and the epoch alone, from an exact position."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tuneforge.errors import TuneForgeError

if TYPE_CHECKING:
    from tuneforge.rows import Batch

Unit = Sequence[int]
"""Indices of the rows that share a sequence: one row, or a pack."""
Order = Callable[[int], Sequence[int]]
"""Epoch → order of the units."""


class Micro(NamedTuple):
    """One forward pass. `counts` is False for a filler that only keeps this device in step with the others."""

    batch: Batch
    rows: tuple[int, ...]
    counts: bool = True


class WindowLoader:
    """Yields windows: the lists of micro-batches that make one optimizer step on this device.

    The last window of an epoch may be short; after `total` windows there are no more. Iterating goes on
    where the last iteration stopped, so a loaded state continues in the middle of an epoch.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        make: Callable[[Sequence[Unit]], Batch],
        *,
        size: int,
        accumulate: int = 1,
        total: int,
        seed: int = 0,
        order: Order | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.units, self.make = units, make
        self.size, self.accumulate, self.total = size, accumulate, total
        self.seed, self.order = seed, order or self._shuffled
        self.rank, self.world = rank, world
        self.epoch = 0
        self.window = 0
        """Windows of this epoch that were yielded."""

    @property
    def per_window(self) -> int:
        """Units per optimizer step over all devices."""
        return self.size * self.accumulate * self.world

    @property
    def done(self) -> int:
        """Windows yielded since the run began."""
        return self.epoch * len(self) + self.window

    def __len__(self) -> int:
        return math.ceil(len(self.units) / self.per_window)

    def __iter__(self) -> Iterator[list[Micro]]:
        # Lightning stops asking after the last window, so the epoch ends when the next one begins.
        self._turn()
        order = self.order(self.epoch) if self.done < self.total else ()
        while self.window < len(self) and self.done < self.total:
            start = self.window * self.per_window
            self.window += 1
            yield self._window(order[start : start + self.per_window])

    def _turn(self) -> None:
        if self.window == len(self):
            self.epoch, self.window = self.epoch + 1, 0

    def _window(self, chosen: Sequence[int]) -> list[Micro]:
        mine = chosen[self.rank :: self.world]
        if not len(mine):  # a short window: this device still takes part, without weight
            return [self._micro(chosen[:1], counts=False)]
        return [self._micro(mine[i : i + self.size]) for i in range(0, len(mine), self.size)]

    def _micro(self, chosen: Sequence[int], counts: bool = True) -> Micro:
        units = [self.units[i] for i in chosen]
        return Micro(self.make(units), tuple(r for unit in units for r in unit), counts)

    def _shuffled(self, epoch: int) -> Sequence[int]:
        order: list[int] = np.random.default_rng([self.seed, epoch]).permutation(len(self.units)).tolist()
        return order

    def state_dict(self) -> dict[str, Any]:
        """Position and what it depends on."""
        return {"epoch": self.epoch, "window": self.window, "units": len(self.units), "seed": self.seed,
                "per_window": self.per_window}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from there. TuneForgeError if the data or the batches are not those of the checkpoint."""
        for key, mine in (("units", len(self.units)), ("seed", self.seed), ("per_window", self.per_window)):
            if state[key] != mine:
                raise TuneForgeError(
                    f"cannot resume: the checkpoint was made with {NAMES[key]} {state[key]}, this run has {mine}"
                )
        self.epoch, self.window = state["epoch"], state["window"]
        self._turn()


NAMES = {"units": "rows or packs", "seed": "seed", "per_window": "rows or packs per optimizer step"}
