"""Weights in 8 bits, through torchao."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Exporter
from tuneforge.extras import require
from tuneforge.rows import Loaded

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Int8(Exporter):
    """A Hugging Face folder with the linear layers in 8-bit integers, a scale per output; activations stay as they are.

    Needs torchao to be loaded again: pip install 'tuneforge[int8]'.
    """

    name: ClassVar[str] = "int8"
    extra: ClassVar[str] = "int8"
    module: ClassVar[str] = "torchao"

    @property
    def limit(self) -> float:
        """The configured tolerance, else a tenth of the largest logit."""
        return 0.1 if self.tolerance is None else self.tolerance

    def check(self, run: Run) -> Iterable[str]:
        """Only a causal model is quantised by transformers as a whole."""
        if run.strategy.head != "causal_lm":
            yield f"quantises causal language models; strategy={run.strategy.name} has the head {run.strategy.head}"

    def export(self, loaded: Loaded, folder: Path, context: Context) -> None:
        """From the merged float32 model, by transformers' TorchAoConfig. ConfigError without torchao."""
        require(self.module, self.extra, "exporter=int8")
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import AutoModelForCausalLM, TorchAoConfig

        with tempfile.TemporaryDirectory(dir=folder.parent) as whole:
            loaded.model.save_pretrained(whole)
            model = AutoModelForCausalLM.from_pretrained(
                whole, dtype="float32", quantization_config=TorchAoConfig(Int8WeightOnlyConfig())
            )
        model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)

    def reload(self, folder: Path, context: Context) -> Loaded | None:
        """The folder as transformers loads it."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(str(folder))
        return Loaded(model, AutoTokenizer.from_pretrained(str(folder)))
