"""Bottleneck adapters (Houlsby et al. 2019, arXiv:1902.00751)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.adapter.peft_adapter import NEW_HEADS, check_names, linear_names, new_head
from tuneforge.components import Adapter, Context
from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.settings import Run

CONFIG, WEIGHTS = "bottleneck_config.json", "bottleneck.safetensors"
KNOWN = (
    ("o_proj", "down_proj"),
    ("attn.c_proj", "mlp.c_proj"),
    ("attention.output.dense", "output.dense"),
    ("attention.dense", "dense_4h_to_h"),
    ("out_proj", "fc2"),
    ("self_attn.dense", "fc2"),
    ("out_lin", "lin2"),
)
"""Last projection of attention and of the feed-forward part: Llama, GPT-2, BERT, NeoX, OPT, Phi, DistilBERT."""


class Activation(StrEnum):
    """Between the two projections."""

    gelu = "gelu"
    relu = "relu"
    silu = "silu"


@dataclass(kw_only=True)
class Bottleneck(Adapter):
    """Two small projections after attention and feed-forward of each layer (Houlsby et al. 2019, arXiv:1902.00751).

    They start as the identity. Norms of the base stay frozen, other than in the paper, so that the base comes back
    when they are switched off.
    """

    name: ClassVar[str] = "bottleneck"
    kind: ClassVar[str] = "BOTTLENECK"
    learning_rate_factor: ClassVar[float] = 10.0

    size: int = 64
    """Width between the two projections."""
    activation: Activation = Activation.gelu
    """gelu, relu or silu."""
    targets: list[str] = field(default_factory=list)
    """Linear layers that an adapter follows, as `o_proj`; empty: the last of attention and of the feed-forward part."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range."""
        if self.size < 1:
            yield f"adapter.size={self.size} must be at least 1"

    def apply(self, model: Module, context: Context) -> Module:
        """The model with adapters, seeded; exactly they and a new head train."""
        import torch

        from tuneforge.training.bottleneck import insert, inserted

        if not inserted(model):
            torch.manual_seed(context.seed)
            insert(model, self._paths(model), self.size, self.activation.value)
        self._train(model, context.run.strategy.head)
        return model

    def off(self, model: Module) -> AbstractContextManager[Any] | None:
        """Adapters switched off. None where a head trains with them, or where the brought ones train on."""
        from tuneforge.training.bottleneck import disabled

        if getattr(model, "brought", "") == "continue" or _trained_head(model):
            return None
        return disabled(model)

    def save(self, model: Module, folder: Path) -> None:
        """`bottleneck_config.json` and `bottleneck.safetensors`: the adapters, and a head that trained with them."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        heads = _trained_head(model)
        tensors = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in model.state_dict().items()
            if ".bottleneck." in name or name.split(".")[0] in heads
        }
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        content = {
            "adapter": "bottleneck",
            "base_model_name_or_path": str(getattr(model, "name_or_path", "")),
            "size": self.size,
            "activation": self.activation.value,
            "paths": sorted({name.split(".bottleneck.")[0] for name in tensors if ".bottleneck." in name}),
            "heads": heads,
        }
        (folder / CONFIG).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def load(self, model: Module, folder: Path, trainable: bool) -> Module:
        """The adapters in `folder` on the freshly loaded base. ConfigError where they are another model's."""
        from safetensors.torch import load_file

        from tuneforge.training.bottleneck import insert

        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
        try:
            insert(model, content["paths"], content["size"], content["activation"])
            report = model.load_state_dict(tensors, strict=False)
        except (AttributeError, RuntimeError) as error:
            raise ConfigError(f"{folder}: these adapters belong to another base model: {error}") from error
        if report.unexpected_keys:
            raise ConfigError(f"{folder}: these adapters belong to another base model: {report.unexpected_keys[0]}")
        model.requires_grad_(False)
        for name, parameter in model.named_parameters():
            parameter.requires_grad = trainable and name in tensors
        return model

    def merge(self, model: Module) -> Module:
        """ConfigError: there is a non-linearity between the two projections."""
        raise ConfigError(
            "adapter=bottleneck cannot be merged: what it adds is no linear function of its input, so no weight of the"
            " base can hold it; keep it beside the base model, or train adapter=lora"
        )

    def _train(self, model: Module, head: str) -> None:
        heads = new_head(model) if head in NEW_HEADS else []
        for name, parameter in model.named_parameters():
            parameter.requires_grad = ".bottleneck." in name or name.split(".")[0] in heads

    def _paths(self, model: Module) -> list[str]:
        """Layers that an adapter follows."""
        linear = linear_names(model)
        check_names("targets", self.targets, linear, "linear layer")
        for names in (self.targets,) if self.targets else KNOWN:
            found = [path for path in linear if any(path == n or path.endswith(f".{n}") for n in names)]
            if all(any(path.endswith(name) for path in found) for name in names):
                return found
        known = ", ".join(sorted({path.rsplit(".", 1)[-1] for path in linear}))
        raise ConfigError(
            f"adapter.targets: the last projections of attention and feed-forward are not known for"
            f" {type(model).__name__}; name them in adapter.targets; the model has {known}"
        )


def _trained_head(model: Module) -> list[str]:
    """Children beside the body that train."""
    return [n for n in new_head(model) if any(p.requires_grad for p in model.get_submodule(n).parameters())]
