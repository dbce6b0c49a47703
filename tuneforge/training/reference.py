"""Log-probabilities under the model as this run found it, for objectives that compare with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch.nn import Module

from tuneforge.rows import Encoded
from tuneforge.training.collate import parts_of
from tuneforge.training.mode import evaluating

if TYPE_CHECKING:
    from torch import Tensor

    from tuneforge.rows import Batch

LogProbs = Callable[["Batch", str], "tuple[Tensor, Tensor]"]


def key(part: str) -> str:
    """Name in `Encoded.extras`, and in the batch, of the reference log-probability of a part."""
    return f"reference.{part}" if part else "reference"


def adapter_off(
    context: AbstractContextManager[object], model: Module, batch: Batch, part: str, by: LogProbs
) -> Tensor:
    """(rows,) log-probabilities inside `context`, in which the adapter is off; no gradient, no dropout."""
    with context, evaluating(model), torch.no_grad():
        return by(batch, part)[0]


def precompute(
    rows: Sequence[Encoded], size: int, collate: Callable[[Sequence[Encoded]], Batch], by: LogProbs, model: Module
) -> Iterator[tuple[int, Encoded]]:
    """(index, row with `reference.*` in its extras) for every row; longest first, `size` rows at a time.

    Runs the model as it is now: call it before the first step.
    """
    order = sorted(range(len(rows)), key=lambda i: -sum(map(len, rows[i].parts.values())))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        with evaluating(model), torch.no_grad():
            batch = collate([rows[i] for i in chosen])
            found = {key(p): by(batch, p)[0].tolist() for p in parts_of(rows[chosen[0]])}
        for at, i in enumerate(chosen):
            yield i, rows[i]._replace(extras={**rows[i].extras, **{k: v[at] for k, v in found.items()}})
