"""A small model trained a few steps by the real training loop, for the tests of adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.unit.training import small
from tuneforge.components import Adapter
from tuneforge.training.fit import Fitted, fit

IDS = torch.tensor([[3, 5, 8, 13, 21, 34, 55], [2, 4, 6, 8, 10, 12, 14]])


def logits(model: Any, ids: Any = IDS) -> Any:
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits


def fitted(adapter: Adapter, folder: Path, make: Callable[[], Any] = small.llama, steps: int = 4) -> Fitted:
    """`steps` optimizer steps of sft on random rows."""
    run = small.settings(adapter=adapter, trainer__max_steps=steps, batch__size=4)
    return fit(run, small.loaded(make()), small.encoded(small.rows(24)), None, False, small.context(run, folder))


def applied(adapter: Adapter, folder: Path, make: Callable[[], Any] = small.llama) -> Any:
    """The model as it is before the first step."""
    run = small.settings(adapter=adapter)
    return adapter.apply(make(), small.context(run, folder))


def moved(before: Any, after: Any) -> set[str]:
    """Names of parameters that differ."""
    then = dict(before.named_parameters())
    return {n for n, p in after.named_parameters() if not torch.equal(p, then[n])}


def trainable(model: Any) -> set[str]:
    return {n for n, p in model.named_parameters() if p.requires_grad}
