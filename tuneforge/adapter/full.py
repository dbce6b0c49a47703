"""All parameters train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tuneforge.adapter.whole import load_whole, refuse_quantized, save_whole
from tuneforge.components import Adapter, Context

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(kw_only=True)
class Full(Adapter):
    """Every parameter of the model trains."""

    name: ClassVar[str] = "full"

    def apply(self, model: Module, context: Context) -> Module:
        """The model itself, all parameters requiring gradients. ConfigError for a quantised model."""
        refuse_quantized(model, self.name)
        return model.requires_grad_(True)

    def save(self, model: Module, folder: Path) -> None:
        """`config.json`, `generation_config.json` and safetensors, as transformers loads them."""
        save_whole(model, folder)

    def load(self, model: Module, folder: Path, trainable: bool) -> Module:
        """The weights in `folder` put into the freshly loaded base, whatever its head."""
        return load_whole(model, folder).requires_grad_(trainable)

    def merge(self, model: Module) -> Module:
        """The model itself."""
        return model
