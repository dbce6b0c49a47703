"""Parameter groups: what is decayed, how fast each layer learns, which matrices are hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module, Parameter

    from tuneforge.components import Optimizer

NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
"""Names of parameters that are not decayed: the rule of Hugging Face's Trainer, as results must agree with it."""
NUMBERED = re.compile(r"(?:^|\.)(\d+)\.")
"""A layer's number in the name of its parameters."""
BEFORE = re.compile(r"embed|wte|wpe|prompt_encoder")
"""Names of what stands before the first layer."""


class Place(NamedTuple):
    """Where a parameter stands: 0 is the embeddings, then the layers from 1, then head and final norm."""

    depth: int
    hidden: bool
    """A matrix of a numbered layer."""


def parameter_groups(model: Module, optimizer: Optimizer, learning_rate: float) -> list[dict[str, Any]]:
    """Parameters that train, grouped; norms and biases are not decayed.

    Every group has `params` and `weight_decay`; with `optimizer.layer_decay` below 1 also `lr` and `place` (the
    name of the layer), with `optimizer.matrices` also `hidden`. ConfigError where nothing trains, or where layers
    are to learn at different rates and the model has none that are numbered.
    """
    norms = _layer_norms(model)
    last = max((place.depth for _, _, place in placed(model)), default=0)
    layered = optimizer.layer_decay != 1.0
    if layered and last < 2:
        raise ConfigError("optimizer.layer_decay: this model has no numbered layers; leave it at 1.0")
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter, place in placed(model):
        if not parameter.requires_grad:
            continue
        decayed = not (name in norms or NO_DECAY.search(name.lower()))
        key = (place.depth if layered else 0, place.hidden if optimizer.matrices else False, not decayed)
        group = {"params": [], "weight_decay": optimizer.weight_decay if decayed else 0.0}
        if layered:
            group |= {"lr": learning_rate * optimizer.layer_decay ** (last - place.depth)}
            group |= {"place": _place_name(place.depth, last)}
        if optimizer.matrices:
            group |= {"hidden": place.hidden}
        found.setdefault(key, group)["params"].append(parameter)
    if not found:
        raise ConfigError("nothing trains: the adapter left no parameter that requires gradients")
    return [found[key] for key in sorted(found)]


def placed(model: Module) -> Iterator[tuple[str, Parameter, Place]]:
    """Every parameter of the model, tied ones once, with its name and place."""
    from torch.nn import Embedding

    base: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    inside = {id(p) for p in getattr(base, "base_model", base).parameters()}
    embeddings = {id(p) for m in model.modules() if isinstance(m, Embedding) for p in m.parameters(recurse=False)}
    parameters = list(model.named_parameters())
    numbers = {n: int(m[1]) + 1 for n, p in parameters if id(p) in inside and (m := NUMBERED.search(n))}
    last = max(numbers.values(), default=0) + 1
    for name, parameter in parameters:
        number = numbers.get(name)
        if number is None:
            first = BEFORE.search(name) and (id(parameter) in inside or "prompt_encoder" in name)
            number = 0 if first else last
        hidden = name in numbers and parameter.ndim == 2 and id(parameter) not in embeddings
        yield name, parameter, Place(number, hidden)


def _layer_norms(model: Module) -> set[str]:
    from torch.nn import LayerNorm

    return {
        f"{m}.{p}" for m, layer in model.named_modules() if isinstance(layer, LayerNorm) for p in ("weight", "bias")
    }


def _place_name(depth: int, last: int) -> str:
    return "embeddings" if depth == 0 else "head" if depth == last else f"layer_{depth - 1:02d}"
