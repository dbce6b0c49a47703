"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Optimizer

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Sgd(Optimizer):
    """torch's SGD with momentum; its weight decay is added to the gradient, not decoupled."""

    name: ClassVar[str] = "sgd"

    momentum: float = 0.9
    """Decay of the running sum of gradients; 0: none, and no state."""
    nesterov: bool = False
    """Look one step of momentum ahead."""

    def check(self, run: Run) -> Iterable[str]:
        """Numbers that SGD cannot work with."""
        if not 0 <= self.momentum < 1:
            yield f"optimizer.momentum is {self.momentum}; it must be at least 0 and below 1"
        if self.nesterov and self.momentum == 0:
            yield "optimizer.nesterov=true needs momentum above 0"

    def build(self, groups: Sequence[Mapping[str, Any]], learning_rate: float) -> TorchOptimizer:
        """Over parameter groups that carry their own `weight_decay`."""
        import torch

        parameters = [dict(group) for group in groups]
        return torch.optim.SGD(parameters, lr=learning_rate, momentum=self.momentum, nesterov=self.nesterov)
