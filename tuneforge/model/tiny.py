"""Model `tiny`: a small Llama that ships with TuneForge, for the default job, tests and tutorials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tuneforge.components import Context, Model
from tuneforge.rows import Loaded

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
        import torch
        import transformers

        from tuneforge.model.heads import auto_class, label_options, new_weights

        auto = getattr(transformers, auto_class(self.name, head, self.config()))
        own = context.run.model is self  # another model of the run, as a teacher, is not quantised with it
        quantization = context.run.adapter.quantization() if own else None
        more = {} if quantization is None else {"quantization_config": quantization}
        options: dict[str, Any] = {"dtype": torch.float32, **label_options(head, context.labels)}
        with new_weights(context.seed):
            if self.fresh:
                config = transformers.AutoConfig.from_pretrained(str(FOLDER), **options)
                model = auto.from_config(config, dtype=torch.float32)
            else:
                model = auto.from_pretrained(str(FOLDER), use_safetensors=True, **options, **more)
        if more:
            from tuneforge.training.four_bits import keep_exact

            keep_exact(model)
        return Loaded(model, transformers.AutoTokenizer.from_pretrained(str(FOLDER)))
