"""Prompt tuning (Lester et al. 2021, arXiv:2104.08691)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.adapter.peft_adapter import TASKS
from tuneforge.adapter.prompt_learning import PromptLearning
from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from peft import PromptTuningConfig
    from torch.nn import Module

    from tuneforge.settings import Run


class PromptInit(StrEnum):
    """How the virtual tokens start."""

    vocabulary = "vocabulary"
    random = "random"
    text = "text"


PEFT_INIT = {"vocabulary": "SAMPLE_VOCAB", "random": "RANDOM", "text": "TEXT"}


@dataclass(kw_only=True)
class Prompt(PromptLearning):
    """Learned embeddings before the first token (prompt tuning, Lester et al. 2021, arXiv:2104.08691)."""

    name: ClassVar[str] = "prompt"
    kind: ClassVar[str] = "PROMPT_TUNING"
    learning_rate_factor: ClassVar[float] = 100.0

    init: PromptInit = PromptInit.vocabulary
    """vocabulary (embeddings of tokens drawn from the vocabulary), random, or text (those of `text`)."""
    text: str = ""
    """What the virtual tokens start as with init=text; repeated or cut to `tokens`."""

    def check(self, run: Run) -> Iterable[str]:
        """Text and init go together."""
        yield from super().check(run)
        if (self.init is PromptInit.text) != bool(self.text):
            yield "adapter.text and adapter.init=text go together: set both or neither"

    def peft_config(self, model: Module, head: str) -> PromptTuningConfig:
        """The configuration."""
        from peft import PromptTuningConfig

        texts = {"prompt_tuning_init_text": self.text, "tokenizer_name_or_path": _folder(model)} if self.text else {}
        return PromptTuningConfig(
            task_type=TASKS[head],
            num_virtual_tokens=self.tokens,
            prompt_tuning_init=PEFT_INIT[self.init.value],
            **texts,
        )


def _folder(model: Module) -> str:
    """Where the model, and so its tokenizer, was loaded from. ConfigError for a model that was just merged."""
    from tuneforge.model.brought import MERGED

    name = str(getattr(model, "name_or_path", ""))
    if name.endswith(MERGED):
        raise ConfigError(
            "adapter.init=text reads the tokenizer beside the model, and a merged one has none yet: export it"
        )
    return name
