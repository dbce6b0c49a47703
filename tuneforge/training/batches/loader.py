"""Batches in an order that depends on the seed and the epoch alone, from an exact position."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from tuneforge.errors import TuneForgeError

if TYPE_CHECKING:
    from tuneforge.rows import Batch

Unit = Sequence[int]
"""Indices of the rows that share a sequence: one row, or a pack."""
Order = Callable[[int], Sequence[int]]
"""Epoch → order of the units."""


STRETCH = 50
"""Optimizer steps whose units are sorted by length together."""


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
        micro: int | None = None,
        lengths: Sequence[int] | None = None,
        order: Order | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.units, self.make = units, make
        self.size, self.accumulate, self.total = size, accumulate, total
        self.micro, self.lengths = micro or size, lengths
        self.seed, self.order = seed, order or (self._shuffled if lengths is None else self._grouped)
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

    def used(self) -> list[int]:
        """Rows that the run comes to: all of them, unless it ends within its first epoch."""
        order = self.order(0) if self.total < len(self) else range(len(self.units))
        return sorted({row for i in order[: self.total * self.per_window] for row in self.units[i]})

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
        micros = [self._micro(part) for part in self.cut(mine)]
        # In a short window every device still does as many passes as the first, without weight.
        missing = len(self.cut(chosen[:: self.world])) - len(micros)
        return micros + [self._micro(chosen[:1], counts=False)] * missing

    def cut(self, units: Sequence[int]) -> list[Sequence[int]]:
        """In batches of `size`, each in forward passes of `micro`."""
        batches = (units[i : i + self.size] for i in range(0, len(units), self.size))
        return [batch[i : i + self.micro] for batch in batches for i in range(0, len(batch), self.micro)]

    def _micro(self, chosen: Sequence[int], counts: bool = True) -> Micro:
        units = [self.units[i] for i in chosen]
        return Micro(self.make(units), tuple(r for unit in units for r in unit), counts)

    def _shuffled(self, epoch: int) -> Sequence[int]:
        return cast("Sequence[int]", np.random.default_rng([self.seed, epoch]).permutation(len(self.units)))

    def _grouped(self, epoch: int) -> Sequence[int]:
        """Units of like length in one step: sorted within stretches of the shuffled order, the steps shuffled again.

        A stretch is at most 50 steps and at most a quarter of the epoch, as in Hugging Face's Trainer, so that
        which units meet still changes with the epoch. The short step of an epoch stays the last.
        """
        assert self.lengths is not None
        shuffled, step = self._shuffled(epoch), self.per_window
        stretch = step * max(1, min(len(shuffled) // (4 * step), STRETCH))
        lengths = np.asarray(self.lengths)
        order: list[Any] = []
        for start in range(0, len(shuffled), stretch):
            together = np.asarray(shuffled[start : start + stretch])
            by_length = together[np.argsort(-lengths[together], kind="stable")]
            order += [by_length[i : i + step] for i in range(0, len(by_length), step)]
        short = [] if len(order[-1]) == step else [order.pop()]
        again = np.random.default_rng([self.seed, epoch, 1]).permutation(len(order))
        return cast("Sequence[int]", np.concatenate([*(order[k] for k in again), *short]))

    def state_dict(self) -> dict[str, Any]:
        """Position and what it depends on."""
        return {"epoch": self.epoch, "window": self.window, "units": len(self.units), "seed": self.seed,
                "per_window": self.per_window, "micro": self.micro, "grouped": self.lengths is not None}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from there. TuneForgeError if the data or the batches are not those of the checkpoint."""
        for key, mine in self.state_dict().items():
            if key in NAMES and state.get(key, mine) != mine:
                raise TuneForgeError(
                    f"cannot resume: the checkpoint was made with {NAMES[key]} {state[key]}, this run has {mine}"
                )
        self.epoch, self.window = state["epoch"], state["window"]
        self.micro = state.get("micro", self.micro)  # as before, for the same rounding
        self._turn()


NAMES = {
    "units": "rows or packs",
    "seed": "seed",
    "per_window": "rows or packs per optimizer step",
    "grouped": "batches grouped by length",
}
