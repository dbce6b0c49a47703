"""What adapters share that learn virtual tokens and leave every weight alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tuneforge.adapter.peft_adapter import PeftAdapter
from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.settings import Run

WHY_NOT = {
    "masked_lm": "PEFT has no prompt learning for masked language models",
    "embedding": "the pooled embedding would hold the virtual tokens too",
    "token_classification": "PEFT's logits would hold the virtual tokens, out of step with the tags",
    "sequence_classification": "PEFT hands such a model embeddings, where padding cannot be told from the last token",
    "reward": "PEFT hands such a model embeddings, where padding cannot be told from the last token",
}
"""Head → why virtual tokens cannot serve it."""


@dataclass(kw_only=True)
class PromptLearning(PeftAdapter):
    """Base of the adapters that learn virtual tokens; no option of its own."""

    packable: ClassVar[bool] = False
    heads: ClassVar[tuple[str, ...]] = ("causal_lm",)
    """Heads that it serves."""

    tokens: int = 20
    """Virtual tokens put before each sequence; they take as many positions of the model's context."""

    def check(self, run: Run) -> Iterable[str]:
        """A head that virtual tokens cannot serve."""
        if self.tokens < 1:
            yield f"adapter.tokens={self.tokens} must be at least 1"
        head = run.strategy.head
        if head not in self.heads:
            reason = WHY_NOT.get(head, f"a {head} head is unknown to PEFT")
            yield (
                f"adapter={self.name} cannot serve strategy={run.strategy.name}: {reason};"
                " use adapter=lora, ia3, bottleneck or full"
            )

    def positions(self) -> int:
        """The virtual tokens."""
        return self.tokens

    def finished(self, model: Module) -> Module:
        """With a forward that keeps logits, cache and positions at the tokens."""
        from tuneforge.training.prompting import prompted

        return prompted(model)

    def load(self, model: Module, folder: Path, trainable: bool) -> Module:
        """The adapter in `folder`. ConfigError for training on what was saved without the network that makes it."""
        if trainable and self.reparameterised():
            raise ConfigError(
                f"{folder}: PEFT saves the virtual tokens of adapter={self.name}, not the network that makes them,"
                " so it cannot train on; it can be evaluated, or trained anew"
            )
        found: Any = super().load(model, folder, trainable=False)
        if trainable:  # PEFT refuses to load virtual tokens to train on, for the sake of those that a network makes
            found.active_peft_config.inference_mode = False
            for name, parameter in found.named_parameters():
                parameter.requires_grad = "prompt_encoder." in name or ".modules_to_save." in name
        return cast("Module", found)

    def reparameterised(self) -> bool:
        """Whether the virtual tokens come out of a network that is left behind when they are saved."""
        return False

    def merge(self, model: Module) -> Module:
        """ConfigError: virtual tokens are inputs, no weights."""
        raise ConfigError(
            f"adapter={self.name} cannot be merged: it learns virtual tokens, which no weight of the model can hold;"
            " keep the adapter beside the base model"
        )
