"""AdamW with 8-bit state (Dettmers et al. 2021, arXiv:2110.02861)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Optimizer

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class AdamW8Bit(Optimizer):
    """bitsandbytes' AdamW: moments of large tensors are kept in 8 bits, in blocks of 256 (arXiv:2110.02861)."""

    name: ClassVar[str] = "adamw_8bit"
    shareable: ClassVar[bool] = False
    extra: ClassVar[str] = "quantization"
    module: ClassVar[str] = "bitsandbytes"

    beta1: float = 0.9
    """Decay of the running mean of the gradient."""
    beta2: float = 0.999
    """Decay of the running mean of the squared gradient."""
    eps: float = 1e-8
    """Added to the denominator."""
    smallest: int = 4096
    """Tensors with fewer elements keep their moments in 32 bits."""

    def check(self, run: Run) -> Iterable[str]:
        """Numbers that AdamW cannot work with."""
        for key in ("beta1", "beta2"):
            if not 0 <= getattr(self, key) < 1:
                yield f"optimizer.{key} is {getattr(self, key)}; it must be at least 0 and below 1"
        if self.eps <= 0:
            yield f"optimizer.eps is {self.eps}; it must be above 0"

    def build(self, groups: Sequence[Mapping[str, Any]], learning_rate: float) -> TorchOptimizer:
        """Over parameter groups that carry their own `weight_decay`. ConfigError without bitsandbytes."""
        from tuneforge.extras import require

        require(self.module, self.extra, "optimizer=adamw_8bit")
        from bitsandbytes.optim import AdamW8bit

        made: TorchOptimizer = AdamW8bit(
            [dict(group) for group in groups], lr=learning_rate, betas=(self.beta1, self.beta2), eps=self.eps,
            min_8bit_size=self.smallest,
        )  # fmt: skip
        return made
