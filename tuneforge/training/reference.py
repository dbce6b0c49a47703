"""Log-probabilities under the model as this run found it, for objectives that compare with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import torch
from torch.nn import Module

from tuneforge.rows import Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from tuneforge.rows import Batch

LogProbs = Callable[["Batch", str], "tuple[Tensor, Tensor]"]


def key(part: str) -> str:
    """Name in `Encoded.extras`, and in the batch, of the reference log-probability of a part."""
    return f"reference.{part}" if part else "reference"


def parts_of(row: Encoded) -> list[str]:
    """Parts of a row that carry labels: `chosen` and `rejected`, or the nameless one."""
    return [n.removesuffix("labels").removesuffix(".") for n in row.parts if n == "labels" or n.endswith(".labels")]


@contextmanager
def without_dropout(model: Module) -> Iterator[None]:
    """The model in eval mode; each module's own mode is put back."""
    training = [m for m in model.modules() if m.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def adapter_off(
    context: AbstractContextManager[object], model: Module, batch: Batch, part: str, by: LogProbs
) -> Tensor:
    """(rows,) log-probabilities inside `context`, in which the adapter is off; no gradient, no dropout."""
    with context, without_dropout(model), torch.no_grad():
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
        with without_dropout(model), torch.no_grad():
            batch = collate([rows[i] for i in chosen])
            found = {key(p): by(batch, p)[0].tolist() for p in parts_of(rows[chosen[0]])}
        for at, i in enumerate(chosen):
            yield i, rows[i]._replace(extras={**rows[i].extras, **{k: v[at] for k, v in found.items()}})
