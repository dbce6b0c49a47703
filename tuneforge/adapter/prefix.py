"""Prefix tuning (Li and Liang 2021, arXiv:2101.00190)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.adapter.peft_adapter import TASKS
from tuneforge.adapter.prompt_learning import PromptLearning
from tuneforge.errors import ConfigError

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
        if run.batch.gradient_checkpointing:
            yield (
                "adapter=prefix does not go with batch.gradient_checkpointing=true: layers that are computed again are"
                " not given the keys and values of the prefix; set it to false, or use another adapter"
            )

    def reparameterised(self) -> bool:
        """With a projection."""
        return self.projection

    def peft_config(self, model: Module, head: str) -> PrefixTuningConfig:
        """The configuration. ConfigError for a model whose attention takes no keys and values from outside."""
        from peft import PrefixTuningConfig

        _require_cache(model)
        return PrefixTuningConfig(
            task_type=TASKS[head],
            num_virtual_tokens=self.tokens,
            prefix_projection=self.projection,
            encoder_hidden_size=self.hidden,
            init_weights="zero" if self.init is PrefixInit.zero else None,
        )


def _require_cache(model: Module) -> None:
    """ConfigError unless the model or its body takes `past_key_values`."""
    from inspect import signature

    body = getattr(model, getattr(model, "base_model_prefix", ""), model)
    if not any("past_key_values" in signature(part.forward).parameters for part in (model, body)):
        raise ConfigError(
            f"adapter=prefix: the attention of {type(model).__name__} takes no keys and values from outside, where the"
            " prefix would stand; use adapter=lora, ia3, bottleneck or full"
        )
