"""Lion (Chen et al. 2023, arXiv:2302.06675)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Optimizer

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Lion(Optimizer):
    """bitsandbytes' Lion: steps of equal size by the sign of the momentum (arXiv:2302.06675).

    It wants a learning rate 3 to 10 times below AdamW's, and as many times its weight decay.
    """

    name: ClassVar[str] = "lion"
    shareable: ClassVar[bool] = False
    extra: ClassVar[str] = "quantization"
    module: ClassVar[str] = "bitsandbytes"

    beta1: float = 0.9
    """Share of the momentum in the sign that is followed."""
    beta2: float = 0.99
    """Decay of the momentum."""

    def check(self, run: Run) -> Iterable[str]:
        """Numbers that Lion cannot work with."""
        for key in ("beta1", "beta2"):
            if not 0 <= getattr(self, key) < 1:
                yield f"optimizer.{key} is {getattr(self, key)}; it must be at least 0 and below 1"

    def build(self, groups: Sequence[Mapping[str, Any]], learning_rate: float) -> TorchOptimizer:
        """Over parameter groups that carry their own `weight_decay`. ConfigError without bitsandbytes."""
        from tuneforge.extras import require

        require(self.module, self.extra, "optimizer=lion")
        from bitsandbytes.optim import Lion as BitsAndBytes

        made: TorchOptimizer = BitsAndBytes(
            [dict(group) for group in groups], lr=learning_rate, betas=(self.beta1, self.beta2)
        )
        return made
