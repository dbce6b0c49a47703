"""Schedule-free AdamW (Defazio et al. 2024, arXiv:2405.15682)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Optimizer

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class ScheduleFree(Optimizer):
    """AdamW that averages its iterates instead of following a schedule (arXiv:2405.15682).

    Gradients are taken between the average and the newest iterate; validation, the best and the final weights are
    the average. It wants `scheduler=constant`, whose warm-up serves.
    """

    name: ClassVar[str] = "schedule_free"
    extra: ClassVar[str] = "schedule-free"
    module: ClassVar[str] = "schedulefree"

    beta1: float = 0.9
    """Where between the newest iterate (0) and the average (1) gradients are taken."""
    beta2: float = 0.999
    """Decay of the running mean of the squared gradient."""
    eps: float = 1e-8
    """Added to the denominator."""
    r: float = 0.0
    """Iterate k enters the average with weight k ** r."""

    def check(self, run: Run) -> Iterable[str]:
        """A schedule, a second average, and numbers that it cannot work with."""
        if run.scheduler.name != "constant":
            yield (
                f"optimizer=schedule_free takes the place of a schedule; scheduler={run.scheduler.name} would decay"
                " its steps once more: choose scheduler=constant"
            )
        if run.regularization.average != "none":
            yield (
                f"optimizer=schedule_free is an average already; regularization.average={run.regularization.average}"
                " would average it once more: choose none"
            )
        if not 0 < self.beta1 < 1:
            yield f"optimizer.beta1 is {self.beta1}; it must be above 0 and below 1"
        if not 0 <= self.beta2 < 1:
            yield f"optimizer.beta2 is {self.beta2}; it must be at least 0 and below 1"

    def build(self, groups: Sequence[Mapping[str, Any]], learning_rate: float) -> TorchOptimizer:
        """In training mode, over groups that carry their own `weight_decay`. ConfigError without schedulefree."""
        from tuneforge.extras import require

        require(self.module, self.extra, "optimizer=schedule_free")
        from schedulefree import AdamWScheduleFree

        made = AdamWScheduleFree(
            [dict(group) for group in groups], lr=learning_rate, betas=(self.beta1, self.beta2), eps=self.eps, r=self.r
        )
        made.train()
        optimizer: TorchOptimizer = made
        return optimizer
