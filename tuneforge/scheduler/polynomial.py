"""Polynomial decay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Scheduler

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer
    from torch.optim.lr_scheduler import LRScheduler

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Polynomial(Scheduler):
    """Linear warm-up from 0, then a power of the steps that are left, down to `floor` times the peak."""

    name: ClassVar[str] = "polynomial"
    power: float = 2.0
    """Exponent: 1 is linear, larger falls faster at first."""
    floor: float = 0.0
    """Share of the peak learning rate that is left at the last step."""

    def check(self, run: Run) -> Iterable[str]:
        """The floor is a share, the power positive."""
        if not 0 <= self.floor <= 1:
            yield f"scheduler.floor is {self.floor}; it must lie between 0 and 1"
        if self.power <= 0:
            yield f"scheduler.power is {self.power}; it must be above 0"

    def build(self, optimizer: TorchOptimizer, steps: int) -> LRScheduler:
        """The schedule for `steps` optimizer steps."""
        from tuneforge.training.optimise import schedule

        def decay(share: float) -> float:
            return self.floor + (1 - self.floor) * float((1 - share) ** self.power)

        return schedule(optimizer, self.warmup_steps(steps), steps, decay)
