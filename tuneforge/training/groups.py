"""Parameter groups: what is decayed, how fast each layer learns, which matrices are hidden."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.components import Optimizer

NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
"""Names of parameters that are not decayed: the rule of Hugging Face's Trainer, as results must agree with it."""


def parameter_groups(model: Module, optimizer: Optimizer, learning_rate: float) -> list[dict[str, Any]]:
    """Parameters that train, grouped; norms and biases are not decayed.

    Every group has `params` and `weight_decay`; with `optimizer.layer_decay` below 1 also `lr` and `place` (the
    name of the layer), with `optimizer.matrices` also `hidden`: True for matrices of layers, embeddings excepted.
    ConfigError where nothing trains, or where layers are asked for and the model has no list of them.
    """
    layered, split = optimizer.layer_decay != 1.0, optimizer.matrices
    norms, embeddings = _layer_norms(model), _embeddings(model)
    depths = _depths(model) if layered or split else {}
    last = max(depths.values(), default=0)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        depth = depths.get(name, 0)
        hidden = 0 < depth < last and parameter.ndim == 2 and id(parameter) not in embeddings
        decayed = not (name in norms or NO_DECAY.search(name.lower()))
        group: dict[str, Any] = {"params": [], "weight_decay": optimizer.weight_decay if decayed else 0.0}
        if layered:
            group |= {"lr": learning_rate * optimizer.layer_decay ** (last - depth), "place": _place(depth, last)}
        if split:
            group |= {"hidden": hidden}
        key = (depth if layered else 0, hidden if split else False, not decayed)
        found.setdefault(key, group)["params"].append(parameter)
    if not found:
        raise ConfigError("nothing trains: the adapter left no parameter that requires gradients")
    return [found[key] for key in sorted(found)]


def _depths(model: Module) -> dict[str, int]:
    """Name → 0 for the embeddings, the layers from 1, then what stands above them."""
    from tuneforge.training.depth import by_depth

    return {name: depth for depth, names in enumerate(reversed(by_depth(model))) for name in names}


def _place(depth: int, last: int) -> str:
    return "embeddings" if depth == 0 else "head" if depth == last else f"layer_{depth - 1:02d}"


def _layer_norms(model: Module) -> set[str]:
    from torch.nn import LayerNorm

    layers = [name for name, layer in model.named_modules() if isinstance(layer, LayerNorm)]
    return {f"{name}.{kind}" for name in layers for kind in ("weight", "bias")}


def _embeddings(model: Module) -> set[int]:
    from torch.nn import Embedding

    return {id(p) for m in model.modules() if isinstance(m, Embedding) for p in m.parameters(recurse=False)}
