"""P-tuning (Liu et al. 2021, arXiv:2103.10385)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.adapter.peft_adapter import TASKS
from tuneforge.adapter.prompt_learning import PromptLearning

if TYPE_CHECKING:
    from peft import PromptEncoderConfig
    from torch.nn import Module

    from tuneforge.settings import Run


class Encoder(StrEnum):
    """The network that makes the virtual tokens."""

    mlp = "mlp"
    lstm = "lstm"


@dataclass(kw_only=True)
class Ptuning(PromptLearning):
    """Virtual tokens made by a small network, which is left behind (P-tuning, Liu et al. 2021, arXiv:2103.10385)."""

    name: ClassVar[str] = "ptuning"
    kind: ClassVar[str] = "P_TUNING"
    learning_rate_factor: ClassVar[float] = 50.0

    encoder: Encoder = Encoder.mlp
    """The network: mlp, or lstm as in the paper."""
    hidden: int = 128
    """Width of the network."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range."""
        yield from super().check(run)
        if self.hidden < 1:
            yield f"adapter.hidden={self.hidden} must be at least 1"

    def reparameterised(self) -> bool:
        """Always."""
        return True

    def peft_config(self, model: Module, head: str) -> PromptEncoderConfig:
        """The configuration."""
        from peft import PromptEncoderConfig

        return PromptEncoderConfig(
            task_type=TASKS[head],
            num_virtual_tokens=self.tokens,
            encoder_reparameterization_type=self.encoder.value.upper(),
            encoder_hidden_size=self.hidden,
        )
