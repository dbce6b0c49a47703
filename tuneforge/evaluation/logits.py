"""Do two forms of a model say the same? Their logits on the same texts, compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from tuneforge.rows import Loaded

LONGEST = 256
"""Tokens of a text that are compared."""


class Difference(NamedTuple):
    """How far apart two models' outputs are on the same tokens."""

    largest: float
    """Largest absolute difference of an output."""
    relative: float
    """The same, divided by the largest output of the first model."""
    agreement: float
    """Share of positions at which both put the same output first."""
    positions: int


def outputs(loaded: Loaded, texts: Sequence[str]) -> list[Tensor]:
    """(positions, width) float32 outputs of each text: logits, or states of a model without a head. Eval mode."""
    import torch

    from tuneforge.training.mode import evaluating

    model: Any = loaded.model
    found = []
    with evaluating(model), torch.no_grad():
        for text in texts:
            ids = loaded.tokenizer(text, truncation=True, max_length=LONGEST, return_tensors="pt").input_ids
            out = model(input_ids=ids.to(next(model.parameters()).device))
            states = out.logits if hasattr(out, "logits") else out.last_hidden_state
            found.append(states.float().cpu().reshape(-1, states.shape[-1]))
    return found


def difference(first: Sequence[Tensor], second: Sequence[Tensor]) -> Difference:
    """The second model's outputs against the first's. NaN and other shapes count as infinitely far apart."""
    if any(a.shape != b.shape for a, b in zip(first, second, strict=True)):
        return Difference(math.inf, math.inf, 0.0, 0)
    largest = max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))
    scale = max(float(a.abs().max()) for a in first)
    same = sum(int((a.argmax(-1) == b.argmax(-1)).sum()) for a, b in zip(first, second, strict=True))
    positions = sum(len(a) for a in first)
    if math.isnan(largest):
        return Difference(math.inf, math.inf, same / positions, positions)
    return Difference(largest, largest / max(scale, 1e-12), same / positions, positions)
