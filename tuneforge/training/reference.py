"""Log-probabilities under the model as this run found it, for objectives that compare with it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import Module

from tuneforge.errors import TuneForgeError
from tuneforge.rows import Encoded
from tuneforge.training.batches.collate import parts_of
from tuneforge.training.devices import world
from tuneforge.training.mode import evaluating
from tuneforge.training.reference_cache import ReferenceCache, row_key

if TYPE_CHECKING:
    from torch import Tensor

    from tuneforge.rows import Batch
    from tuneforge.training.batches.feed import Feed

LogProbs = Callable[["Batch", str], "Tensor"]
"""Batch and part → (rows,) log-probabilities in nats."""


def key(part: str) -> str:
    """Name in `Encoded.extras`, and in the batch, of the reference log-probability of a part."""
    return f"reference.{part}" if part else "reference"


def precompute(
    rows: Sequence[Encoded],
    size: int,
    collate: Callable[[Sequence[Encoded]], Batch],
    by: LogProbs,
    model: Module,
    parts: Callable[[Encoded], Sequence[str]] = parts_of,
) -> Iterator[tuple[int, Encoded]]:
    """(index, row with `reference.*` in its extras) for every row; longest first, `size` rows at a time.

    Runs the model as it is now: call it before the first step.
    """
    alike: dict[tuple[str, ...], list[int]] = {}
    for i in sorted(range(len(rows)), key=lambda i: -sum(map(len, rows[i].parts.values()))):
        alike.setdefault(tuple(parts(rows[i])), []).append(i)
    for names, order in alike.items():
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            with evaluating(model), torch.no_grad():
                batch = collate([rows[i] for i in chosen])
                found = {key(p): by(batch, p).tolist() for p in names}
            for at, i in enumerate(chosen):
                yield i, rows[i]._replace(extras={**rows[i].extras, **{k: v[at] for k, v in found.items()}})


class Known:
    """The references of one set: what the cache knew, what was computed, and finally all of them in the rows."""

    def __init__(self, feed: Feed, cache: ReferenceCache, used: Sequence[int]) -> None:
        """`used` are the rows of the feed that this run will come to."""
        self.feed, self.cache = feed, cache
        self.start = time.monotonic()
        rows, parts = feed.rows, feed.strategy.referenced
        self.keys = {i: {part: row_key(rows[i], part) for part in parts(rows[i])} for i in used}
        self.new: dict[bytes, float] = {}
        mine = {k: cache.values[k] for keys in self.keys.values() for k in keys.values() if k in cache.values}
        # Machines without a common disk know different rows, and must agree on what is missing.
        self.values = {k: v for theirs in world.from_all(mine) for k, v in theirs.items()}
        self.missing = [i for i, keys in self.keys.items() if any(k not in self.values for k in keys.values())]

    def add(self, index: int, row: Encoded) -> None:
        """Take what `precompute` found for a row. TuneForgeError where it is no number."""
        for part, name in self.keys[index].items():
            value = row.extras[key(part)]
            if not math.isfinite(value):
                raise TuneForgeError(
                    f"the reference log-probability of {self.feed.sources[index].place} is {value}: the model as found"
                    " cannot score this row; look at it, or at trainer.precision"
                )
            self.new[name] = value
            self.cache.add(name, value)

    def exchange(self) -> None:
        """Everything that any process has computed."""
        for theirs in world.from_all(self.new):
            self.values |= theirs

    def place(self) -> str:
        """Put every reference into the extras of its row; what was done, in words."""
        for i, keys in self.keys.items():
            row = self.feed.rows[i]
            extras = {key(part): self.values[name] for part, name in keys.items()}
            self.feed.rows[i] = row._replace(extras={**row.extras, **extras})
        fresh, seconds = len(self.missing), time.monotonic() - self.start
        return (
            f"references of {len(self.keys):,} rows before the first step: {fresh:,} computed in {seconds:.1f} s,"
            f" {len(self.keys) - fresh:,} from the cache"
        )
