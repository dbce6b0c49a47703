"""Adafactor (Shazeer and Stern 2018, arXiv:1804.04235)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Optimizer

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Adafactor(Optimizer):
    """transformers' Adafactor: a row and a column instead of a matrix of second moments (arXiv:1804.04235).

    Relative steps are off: the learning rate is `optimizer.learning_rate` times the schedule, not derived from the
    step number, and not multiplied by a parameter's size unless `scale_parameter`.
    """

    name: ClassVar[str] = "adafactor"
    shareable: ClassVar[bool] = False

    beta1: float | None = None
    """Decay of the running mean of the gradient; null: no first moment, which saves its memory."""
    decay_rate: float = -0.8
    """The second moment's decay at step t is 1 - t ** decay_rate."""
    clip_threshold: float = 1.0
    """Largest root mean square of one tensor's update."""
    scale_parameter: bool = False
    """Multiply the learning rate by the root mean square of the parameter."""

    def check(self, run: Run) -> Iterable[str]:
        """Numbers that Adafactor cannot work with."""
        if self.beta1 is not None and not 0 <= self.beta1 < 1:
            yield f"optimizer.beta1 is {self.beta1}; it must be null, or at least 0 and below 1"
        if self.decay_rate >= 0:
            yield f"optimizer.decay_rate is {self.decay_rate}; it must be below 0"
        if self.clip_threshold <= 0:
            yield f"optimizer.clip_threshold is {self.clip_threshold}; it must be above 0"

    def build(self, groups: Sequence[Mapping[str, Any]], learning_rate: float) -> TorchOptimizer:
        """Over parameter groups that carry their own `weight_decay`."""
        from transformers.optimization import Adafactor as Transformers

        made: TorchOptimizer = Transformers(
            [dict(group) for group in groups], lr=learning_rate, beta1=self.beta1, decay_rate=self.decay_rate,
            clip_threshold=self.clip_threshold, scale_parameter=self.scale_parameter, relative_step=False,
            warmup_init=False,
        )  # fmt: skip
        return made
