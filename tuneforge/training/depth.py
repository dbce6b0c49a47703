"""A model's parameters by their depth: embeddings, layers, and what stands above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.nn import Embedding, Module, ModuleList

from tuneforge.errors import ConfigError


def layers_of(model: Module) -> tuple[str, ModuleList]:
    """Path and list of the model's layers: the module list that holds most parameters. ConfigError for none."""
    found = [(name, part) for name, part in model.named_modules() if isinstance(part, ModuleList) and len(part)]
    if not found:
        raise ConfigError(f"{type(model).__name__} has no list of layers, so none can be told apart by depth")
    return max(found, key=lambda item: sum(p.numel() for p in item[1].parameters()))


def by_depth(model: Module) -> list[list[str]]:
    """Names of all parameters, from the top down: [head and last norm], [last layer], …, [first layer], [embeddings].

    A head that is tied to the embeddings stands with them, as they are one parameter.
    """
    path, layers = layers_of(model)
    bottom = _embedding_names(model)
    groups: list[list[str]] = [[] for _ in range(len(layers) + 2)]
    for name, _ in model.named_parameters():
        if name.startswith(f"{path}."):
            number = int(name.removeprefix(f"{path}.").split(".")[0])
            groups[len(layers) - number].append(name)
        else:
            groups[-1 if name in bottom else 0].append(name)
    return groups


def _embedding_names(model: Module) -> set[str]:
    """Parameters of embeddings and of what is named after them; an output head of its own is none."""
    model_: Any = model
    output = model_.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    inside = {id(p) for m in model.modules() if isinstance(m, Embedding) for p in m.parameters()}
    head = {id(p) for p in output.parameters()} - inside if output is not None else set()
    return {
        name
        for name, parameter in model.named_parameters()
        if id(parameter) in inside or ("embed" in name.lower() and id(parameter) not in head)
    }


def train_only(model: Module, names: Sequence[str]) -> None:
    """Exactly the named parameters require gradients."""
    chosen = set(names)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in chosen
