"""A constant learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Scheduler

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer
    from torch.optim.lr_scheduler import LRScheduler


@dataclass(kw_only=True)
class Constant(Scheduler):
    """Linear warm-up from 0, then the peak learning rate throughout."""

    name: ClassVar[str] = "constant"

    def build(self, optimizer: TorchOptimizer, steps: int) -> LRScheduler:
        """The schedule for `steps` optimizer steps."""
        from tuneforge.training.optimise import schedule

        return schedule(optimizer, self.warmup_steps(steps), steps, lambda share: 1.0)
