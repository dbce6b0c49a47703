"""Prefix tuning (Li and Liang 2021, arXiv:2101.00190)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.adapter.peft_adapter import TASKS
from tuneforge.adapter.prompt_learning import PromptLearning

if TYPE_CHECKING:
    from peft import PrefixTuningConfig
    from torch.nn import Module

    from tuneforge.settings import Run


class PrefixInit(StrEnum):
    """How the prefix starts."""

    random = "random"
    zero = "zero"


@dataclass(kw_only=True)
class Prefix(PromptLearning):
    """Learned keys and values before each layer's own (prefix tuning, Li and Liang 2021, arXiv:2101.00190)."""

    name: ClassVar[str] = "prefix"
    kind: ClassVar[str] = "PREFIX_TUNING"
    learning_rate_factor: ClassVar[float] = 100.0
    heads: ClassVar[tuple[str, ...]] = ("causal_lm", "sequence_classification", "reward", "token_classification")

    init: PrefixInit = PrefixInit.random
    """random, or zero (attention is drawn to empty positions at first); random learned faster on the embedded model."""
    projection: bool = False
    """The prefix comes out of a small network during training, which is left behind when it is saved."""
    hidden: int = 128
    """Width of that network."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range, or that do not go together."""
        yield from super().check(run)
        if self.hidden < 1:
            yield f"adapter.hidden={self.hidden} must be at least 1"
        if self.projection and self.init is PrefixInit.zero:
            yield "adapter.projection=true needs adapter.init=random: a projection of zeros learns nothing"

    def reparameterised(self) -> bool:
        """With a projection."""
        return self.projection

    def peft_config(self, model: Module, head: str) -> PrefixTuningConfig:
        """The configuration."""
        from peft import PrefixTuningConfig

        return PrefixTuningConfig(
            task_type=TASKS[head],
            num_virtual_tokens=self.tokens,
            prefix_projection=self.projection,
            encoder_hidden_size=self.hidden,
            init_weights="zero" if self.init is PrefixInit.zero else None,
        )
