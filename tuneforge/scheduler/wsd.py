"""Warm-up, stable, decay (Hu et al. 2024, arXiv:2404.06395)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Scheduler

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer
    from torch.optim.lr_scheduler import LRScheduler

    from tuneforge.settings import Run


class Shape(StrEnum):
    """How the learning rate falls."""

    cosine = "cosine"
    linear = "linear"
    sqrt = "sqrt"


@dataclass(kw_only=True)
class Wsd(Scheduler):
    """Linear warm-up from 0, the peak until the decay begins, then down to `floor` times it (arXiv:2404.06395)."""

    name: ClassVar[str] = "wsd"
    decay: float = 0.2
    """Length of the decay: a share of all steps when below 1, else a number of steps."""
    shape: Shape = Shape.cosine
    """How it falls: cosine, linear, or sqrt (1 minus the square root of the share that is done)."""
    floor: float = 0.0
    """Share of the peak learning rate that is left at the last step."""

    def check(self, run: Run) -> Iterable[str]:
        """The floor is a share, the decay positive."""
        if not 0 <= self.floor <= 1:
            yield f"scheduler.floor is {self.floor}; it must lie between 0 and 1"
        if self.decay <= 0:
            yield f"scheduler.decay is {self.decay}; it must be above 0"

    def build(self, optimizer: TorchOptimizer, steps: int) -> LRScheduler:
        """The schedule for `steps` optimizer steps."""
        from tuneforge.training.optimise import warmed_up

        warmup = self.warmup_steps(steps)
        length = int(self.decay) if self.decay >= 1 else int(self.decay * steps)
        stable = max(0, steps - warmup - length)

        def after(since: int) -> float:
            share = min(1.0, max(0, since - stable) / max(1, length))
            return self.floor + (1 - self.floor) * FALLS[self.shape](share)

        return warmed_up(optimizer, warmup, after)


FALLS: dict[Shape, Callable[[float], float]] = {
    Shape.cosine: lambda share: 0.5 * (1 + math.cos(math.pi * share)),
    Shape.linear: lambda share: 1 - share,
    Shape.sqrt: lambda share: 1 - math.sqrt(share),
}
"""Share of the decay that is done → share of the way from floor to peak."""
