"""All parameters train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Adapter, Context

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(kw_only=True)
class Full(Adapter):
    """Every parameter of the model trains."""

    name: ClassVar[str] = "full"

    def apply(self, model: Module, context: Context) -> Module:
        """The model itself, all parameters requiring gradients."""
        return model.requires_grad_(True)

    def save(self, model: Module, folder: Path) -> None:
        """`config.json`, `generation_config.json` and safetensors, as transformers loads them."""
        model.save_pretrained(folder)  # type: ignore[operator]

    def load(self, model: Module, folder: Path, trainable: bool) -> Module:
        """The weights in `folder` put into the freshly loaded base."""
        from transformers import AutoModelForCausalLM

        saved = AutoModelForCausalLM.from_pretrained(
            folder, dtype=next(model.parameters()).dtype, use_safetensors=True, local_files_only=True
        )
        model.load_state_dict(saved.state_dict())
        return model.requires_grad_(trainable)

    def merge(self, model: Module) -> Module:
        """The model itself."""
        return model
