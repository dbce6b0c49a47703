"""AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Optimizer

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class AdamW(Optimizer):
    """torch's fused AdamW with decoupled weight decay."""

    name: ClassVar[str] = "adamw"
    beta1: float = 0.9
    """Decay of the running mean of the gradient."""
    beta2: float = 0.999
    """Decay of the running mean of the squared gradient."""
    eps: float = 1e-8
    """Added to the denominator."""

    def check(self, run: Run) -> Iterable[str]:
        """Numbers that AdamW cannot work with."""
        for key in ("beta1", "beta2"):
            if not 0 <= getattr(self, key) < 1:
                yield f"optimizer.{key} is {getattr(self, key)}; it must be at least 0 and below 1"
        if self.eps <= 0:
            yield f"optimizer.eps is {self.eps}; it must be above 0"

    def build(self, groups: Sequence[Mapping[str, Any]], learning_rate: float) -> TorchOptimizer:
        """Fused over parameter groups that carry their own `weight_decay`."""
        import torch

        parameters = [dict(group) for group in groups]
        return torch.optim.AdamW(parameters, lr=learning_rate, betas=(self.beta1, self.beta2), eps=self.eps, fused=True)
