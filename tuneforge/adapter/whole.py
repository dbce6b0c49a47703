"""What adapters share that change the model's own weights: the whole model is saved and loaded."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module


def save_whole(model: Module, folder: Path) -> None:
    """`config.json`, `generation_config.json` and safetensors, as transformers loads them."""
    model.save_pretrained(folder)  # type: ignore[operator]


def load_whole(model: Any, folder: Path) -> Module:
    """The weights in `folder` put into this model, grown to their vocabulary. ConfigError for another model's."""
    try:
        _grow(model, folder)
        saved, report = type(model).from_pretrained(
            folder,
            config=copy.deepcopy(model.config),  # the folder's own may make a model of any size
            dtype=next(model.parameters()).dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        odd = sorted({*report["missing_keys"], *report["unexpected_keys"]})
        if odd:
            raise RuntimeError(f"{len(odd)} weights do not fit, as {odd[0]}")
        model.load_state_dict(saved.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{folder}: these are not weights of this {type(model).__name__}: {reason}") from error
    found: Module = model
    return found


def _grow(model: Any, folder: Path) -> None:
    """Rows for tokens that a transform added to the vocabulary before these weights were trained."""
    from safetensors import safe_open

    own = model.get_input_embeddings().weight
    name = next((n for n, p in model.named_parameters() if p is own), "")
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            if name in weights.keys():  # noqa: SIM118 (no mapping)
                rows, width = weights.get_slice(name).get_shape()
                if rows > own.shape[0] and width == own.shape[1]:
                    model.resize_token_embeddings(rows, mean_resizing=False)


def refuse_quantized(model: Module, name: str) -> None:
    """ConfigError: rounded weights take no gradient."""
    if getattr(model, "is_quantized", False):
        raise ConfigError(
            f"adapter={name} trains the model's own weights, and this model's are quantised, which take no gradient;"
            " use adapter=lora on it, or a model that is not quantised"
        )
