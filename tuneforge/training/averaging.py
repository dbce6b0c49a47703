"""Averages of weights over optimizer steps: EMA, SWA, and those of optimizers that average by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tuneforge.errors import ConfigError
from tuneforge.training.devices.shares import shared_like

if TYPE_CHECKING:
    from tuneforge.settings import Run


class Average:
    """The running average of what trains and of buffers, in float32 or wider; empty where none is kept.

    ema: a <- d a + (1 - d) w, begun with the weights after the first step. swa (Izmailov et al. 2018,
    arXiv:1803.05407): the mean of the weights after each step from `regularization.swa_start` on. Both as
    torch.optim.swa_utils.AveragedModel with buffers computes them. ConfigError where swa would begin after the end.
    """

    def __init__(self, run: Run, total: int) -> None:
        settings = run.regularization
        self.kind, self.decay = str(settings.average), settings.ema_decay
        start = settings.swa_start
        self.start = max(1, math.ceil(start if start >= 1 else start * total)) if self.kind == "swa" else 1
        if self.kind == "swa" and self.start > total > 0:
            raise ConfigError(
                f"regularization.swa_start={start:g}: the run has {total} steps; nothing would be averaged"
            )
        self.count = 0
        """Steps that are in the average."""
        self.weights: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Take in the weights after optimizer step `step`, counted from 1."""
        if self.kind == "none" or step < self.start:
            return
        if not self.count:
            self.weights = {name: _wide(tensor.detach()).clone() for name, tensor in weights.items()}
        share = 1 - self.decay if self.kind == "ema" else 1 / (self.count + 1)
        for name, tensor in weights.items() if self.count else ():
            mine = self.weights[name]
            if mine.is_floating_point():
                mine.lerp_(_wide(tensor.detach()), share)
            else:
                mine.copy_(tensor)
        self.count += 1

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Overwrite `weights` by their average, where there is one."""
        for name, mean in self.weights.items():
            weights[name].copy_(mean)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"count": self.count, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Continue from there, each average on the device of its weight."""
        self.count = state["count"]
        self.weights = {
            name: shared_like(weights[name], mean).to(weights[name].device) for name, mean in state["weights"].items()
        }


def _wide(tensor: Tensor) -> Tensor:
    """At least float32, as small steps towards the mean are lost in 16 bits."""
    wide = torch.promote_types(tensor.dtype, torch.float32)
    return tensor.to(wide) if tensor.is_floating_point() else tensor


def settle(weights: Mapping[str, Tensor], average: Average, optimizer: Any) -> None:
    """Put the weights that are validated, saved and evaluated in place of those that train."""
    if hasattr(optimizer, "eval"):  # schedule-free optimizers keep their average to themselves
        optimizer.eval()
    average.put(weights)


@contextmanager
def settled(weights: Mapping[str, Tensor], average: Average, optimizer: Any) -> Iterator[None]:
    """`settle` for a while; the weights that train are put back bit for bit."""
    if not average.count and not hasattr(optimizer, "eval"):
        yield
        return
    kept = {name: tensor.detach().clone() for name, tensor in weights.items()}
    settle(weights, average, optimizer)
    try:
        yield
    finally:
        if hasattr(optimizer, "train"):
            optimizer.train()
        with torch.no_grad():
            for name, tensor in weights.items():
                tensor.copy_(kept[name])
