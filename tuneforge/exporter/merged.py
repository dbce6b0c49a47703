"""The adaptation in the weights of a plain model."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from tuneforge.components import Context, Exporter
from tuneforge.rows import Loaded


class Precision(StrEnum):
    """Type of the exported weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


TOLERANCES = {Precision.float32: 1e-4, Precision.float16: 1e-2, Precision.bfloat16: 5e-2}


@dataclass(kw_only=True)
class Merged(Exporter):
    """A Hugging Face folder with the adapter merged into the weights, as transformers, vLLM and others load it.

    Merged in float32, then cast.
    """

    name: ClassVar[str] = "merged"

    dtype: Precision = Precision.bfloat16
    """Type of the exported weights: float32, bfloat16 or float16."""

    @property
    def limit(self) -> float:
        """The configured tolerance, else what rounding to the type explains."""
        return TOLERANCES[self.dtype] if self.tolerance is None else self.tolerance

    def export(self, loaded: Loaded, folder: Path, context: Context) -> None:
        """`config.json`, safetensors and the tokenizer with its chat template."""
        import torch

        model = copy.deepcopy(loaded.model).to(getattr(torch, self.dtype.value))
        model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)

    def reload(self, folder: Path, context: Context) -> Loaded | None:
        """The folder as transformers loads it, computed in float32 from the exported weights."""
        import torch
        import transformers

        from tuneforge.model.heads import auto_class

        auto = getattr(transformers, auto_class("hf", context.run.strategy.head))
        model = auto.from_pretrained(str(folder), dtype=torch.float32, use_safetensors=True)
        return Loaded(model, transformers.AutoTokenizer.from_pretrained(str(folder)))
