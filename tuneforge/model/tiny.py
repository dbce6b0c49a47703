"""Model `tiny`: a small Llama that ships with TuneForge, for the default job, tests and tutorials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Model
from tuneforge.errors import ConfigError
from tuneforge.rows import Loaded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FOLDER = Path(__file__).parent / "tiny_weights"


@dataclass(kw_only=True)
class Tiny(Model):
    """A Llama of 1.4 million parameters with a chat template, read from the package without a network.

    It was trained by experiment=pretrain_tiny on generated text alone: it copies, sorts, adds and looks up
    small things, and nothing else. Weights are bfloat16 on disk and float32 in memory.
    """

    name: ClassVar[str] = "tiny"
    learning_rate_factor: ClassVar[float] = 30.0

    fresh: bool = False
    """Start from random weights, drawn with the run's seed, instead of the trained ones."""

    def config(self) -> Mapping[str, Any]:
        """The content of config.json."""
        found: dict[str, Any] = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
        return found

    def load(self, head: str, context: Context) -> Loaded:
        """The model in float32 with its tokenizer."""
        from transformers import AutoTokenizer

        if head != "causal_lm":
            raise ConfigError(f"model=tiny has no head '{head}'; it has causal_lm")
        model = self._fresh(context.seed) if self.fresh else self._trained()
        return Loaded(model, AutoTokenizer.from_pretrained(str(FOLDER)))

    def _trained(self) -> PreTrainedModel:
        import torch
        from transformers import LlamaForCausalLM

        return LlamaForCausalLM.from_pretrained(str(FOLDER), dtype=torch.float32, use_safetensors=True)

    def _fresh(self, seed: int) -> PreTrainedModel:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig.from_pretrained(str(FOLDER))
        config.dtype = torch.float32
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return LlamaForCausalLM(config)
