"""The model as a run found it: what identifies it, and whether an adapter at its start still is it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from tuneforge.errors import ConfigError
from tuneforge.training.mode import evaluating
from tuneforge.training.reference_cache import fingerprint

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.components import Adapter

LIMIT = 1e-4
"""Largest difference of logits, relative to the largest, at which the adapted model still is the one found."""


class AsFound(NamedTuple):
    """A model before its adapter was applied."""

    digest: str
    """`reference_cache.fingerprint` of it."""
    logits: Tensor
    """(1, 8, vocabulary) float32, of the token ids 1 to 8, on the CPU."""

    @classmethod
    def of(cls, model: Module, precision: str) -> AsFound:
        """Of a causal language model as loaded; its mode is left as it was."""
        return cls(fingerprint(model, precision), _logits(model))

    def require(self, model: Module, adapter: Adapter) -> None:
        """ConfigError unless the adapted model, turned off or else at its start, gives the logits found."""
        with adapter.off(model) or nullcontext():
            gap = float((_logits(model) - self.logits).abs().max())
        largest = max(1.0, float(self.logits.abs().max()))
        dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
        # In 16 bits, another device or kernel rounds differently.
        if gap > max(LIMIT, 8 * torch.finfo(dtype).eps) * largest:
            raise ConfigError(
                f"adapter={adapter.name}: neither turned off nor at its start is it the model that this run found"
                f" (logits differ by {gap:.2g}), so there is no reference to compare with; choose another adapter"
                " or start"
            )


def _logits(model: Module) -> Tensor:
    ids = torch.arange(1, 9, device=next(model.parameters()).device).unsqueeze(0)
    with evaluating(model), torch.no_grad():
        logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits.float().cpu()
