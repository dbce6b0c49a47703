"""LoRA over a model in four bits (Dettmers et al. 2023, arXiv:2305.14314)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tuneforge.adapter.lora import MOVES_BASE, Init, Lora
from tuneforge.components import Context
from tuneforge.errors import ConfigError
from tuneforge.extras import require

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.settings import Run


HEADS = (
    "lm_head", "embed_out", "cls", "predictions", "lm_predictions", "generator_predictions", "generator_lm_head",
    "vocab_transform", "vocab_projector", r".*\.pooler", "score", "classifier", "pre_classifier", "classification_head",
)  # fmt: skip
"""What is never quantised: heads, which are tied to embeddings or new. Names, or patterns of paths; transformers itself
misses a new classifier of BERT."""


class Bits(StrEnum):
    """The 4-bit type of the frozen weights."""

    nf4 = "nf4"
    fp4 = "fp4"


class Compute(StrEnum):
    """The type in which the weights are multiplied."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


@dataclass(kw_only=True)
class Qlora(Lora):
    """LoRA beside weights that are frozen in four bits (QLoRA, Dettmers et al. 2023, arXiv:2305.14314).

    A quarter of the memory of 16-bit weights. The saved adapter is a LoRA adapter; merging is into whole weights.
    """

    name: ClassVar[str] = "qlora"
    extra: ClassVar[str] = "quantization"
    module: ClassVar[str] = "bitsandbytes"

    bits: Bits = Bits.nf4
    """4-bit type of the frozen weights: nf4 or fp4."""
    double_quantization: bool = True
    """The scales of the blocks are quantised too."""
    compute: Compute = Compute.auto
    """Type of the multiplication: auto (bfloat16 where a GPU has it, else float32), float32, bfloat16 or float16."""

    def check(self, run: Run) -> Iterable[str]:
        """What cannot be quantised."""
        yield from super().check(run)
        if self.init in MOVES_BASE or self.init is Init.mica:
            yield f"adapter.init={self.init} needs the whole weights; with qlora use default, gaussian or orthogonal"
        if getattr(run.model, "fresh", False):
            yield "adapter=qlora: fresh weights are random and cannot be loaded in four bits; use adapter=full"

    def quantization(self) -> Any:
        """bitsandbytes' 4-bit configuration for transformers. ConfigError where bitsandbytes is not installed."""
        import torch
        from transformers import BitsAndBytesConfig

        require(self.module, self.extra, "adapter=qlora")
        kind = self.compute.value
        if self.compute is Compute.auto:
            kind = "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"
        return BitsAndBytesConfig(
            load_in_4bit=True,
            llm_int8_skip_modules=list(HEADS),
            bnb_4bit_quant_type=self.bits.value,
            bnb_4bit_use_double_quant=self.double_quantization,
            bnb_4bit_compute_dtype=getattr(torch, kind),
        )

    def apply(self, model: Module, context: Context) -> Module:
        """The model with adapters; norms and head in float32. ConfigError for a model that is not quantised."""
        from peft import prepare_model_for_kbit_training

        if not getattr(model, "is_loaded_in_4bit", False):
            raise ConfigError(f"adapter=qlora: model={context.run.model.name} did not load the model in four bits")
        if not hasattr(model, "peft_config"):
            model = cast("Module", prepare_model_for_kbit_training(model, use_gradient_checkpointing=False))
        return super().apply(model, context)

    def merge(self, model: Module) -> Module:
        """A plain model of the 4-bit weights as they are, in float32, with the update added."""
        if not getattr(model, "is_loaded_in_4bit", False):
            return super().merge(model)
        if self.dora:
            raise ConfigError("adapter.dora=true over 4-bit weights cannot be merged; put the adapter on whole weights")
        from tuneforge.training.four_bits import merged

        return merged(model)
