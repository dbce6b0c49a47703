"""Cosine decay with hard restarts (Loshchilov and Hutter 2016, arXiv:1608.03983)."""

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
class CosineWithRestarts(Scheduler):
    """Linear warm-up from 0, then half cosines from the peak to 0, one after the other (arXiv:1608.03983)."""

    name: ClassVar[str] = "cosine_with_restarts"
    cycles: int = 3
    """How many half cosines."""

    def check(self, run: Run) -> Iterable[str]:
        """At least one cycle."""
        if self.cycles < 1:
            yield f"scheduler.cycles is {self.cycles}; it must be 1 or more"

    def build(self, optimizer: TorchOptimizer, steps: int) -> LRScheduler:
        """The schedule for `steps` optimizer steps."""
        from tuneforge.training.optimise import schedule

        def decay(share: float) -> float:
            return 0.0 if share >= 1 else 0.5 * (1 + math.cos(math.pi * (self.cycles * share % 1)))

        return schedule(optimizer, self.warmup_steps(steps), steps, decay)
