"""Linear decay to zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Scheduler

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer
    from torch.optim.lr_scheduler import LRScheduler


@dataclass(kw_only=True)
class Linear(Scheduler):
    """Linear warm-up from 0, then linear decay to 0 at the last step."""

    name: ClassVar[str] = "linear"

    def build(self, optimizer: TorchOptimizer, steps: int) -> LRScheduler:
        """The schedule for `steps` optimizer steps."""
        from tuneforge.training.optimise import schedule

        return schedule(optimizer, self.warmup_steps(steps), steps, lambda share: 1.0 - share)
