"""Decay by the inverse square root of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Scheduler

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer
    from torch.optim.lr_scheduler import LRScheduler

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class InverseSqrt(Scheduler):
    """Linear warm-up from 0, then the inverse square root of the step; it does not know the last step."""

    name: ClassVar[str] = "inverse_sqrt"
    timescale: int | None = None
    """Steps after the warm-up in which the learning rate falls to 0.71; null: as many as warm up, 10,000 without."""

    def check(self, run: Run) -> Iterable[str]:
        """The timescale is a number of steps."""
        if self.timescale is not None and self.timescale < 1:
            yield f"scheduler.timescale is {self.timescale}; it must be null, or 1 or more"

    def build(self, optimizer: TorchOptimizer, steps: int) -> LRScheduler:
        """The schedule for `steps` optimizer steps."""
        from tuneforge.training.optimise import warmed_up

        warmup = self.warmup_steps(steps)
        scale = self.timescale or warmup or 10_000
        return warmed_up(optimizer, warmup, lambda since: 1 / math.sqrt((since + scale) / scale))
