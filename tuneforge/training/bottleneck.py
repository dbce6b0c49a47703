"""Serial adapters after the two projections of each layer that write into the residual stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import GELU, Linear, Module, ReLU, SiLU, init

ACTIVATIONS: dict[str, type[Module]] = {"gelu": GELU, "relu": ReLU, "silu": SiLU}
CHILD = "bottleneck"
"""Name of the adapter under the layer that it follows."""


class Bottleneck(Module):
    """h + up(activation(down(h))), where `up` starts at zero: the whole starts as the identity."""

    def __init__(self, width: int, size: int, activation: str, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.down = Linear(width, size, dtype=dtype, device=device)
        self.activation = ACTIVATIONS[activation]()
        self.up = Linear(size, width, dtype=dtype, device=device)
        self.enabled = True
        init.normal_(self.down.weight, std=0.02)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            init.zeros_(zero)

    def forward(self, states: Tensor) -> Tensor:
        """(…, width) of any float type; computed in the adapter's own."""
        if not self.enabled:
            return states
        own = states.to(self.down.weight.dtype)
        update: Tensor = self.up(self.activation(self.down(own)))
        return (own + update).to(states.dtype)


def _follow(layer: Module, args: Any, output: Tensor) -> Tensor:
    """The hook: what comes out of the layer goes through its adapter."""
    found: Tensor = getattr(layer, CHILD)(output)
    return found


def insert(model: Module, paths: Sequence[str], size: int, activation: str) -> None:
    """An adapter behind each of the named linear layers, in float32 where the layer is of 16 bits or fewer."""
    for path in paths:
        layer = model.get_submodule(path)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        kind = weight.dtype if weight.dtype in (torch.float32, torch.float64) else torch.float32
        layer.add_module(CHILD, Bottleneck(_width(layer), size, activation, kind, weight.device))
        layer.register_forward_hook(_follow)


def _width(layer: Any) -> int:
    """Outputs of a Linear, or of GPT-2's Conv1D."""
    return int(layer.out_features if hasattr(layer, "out_features") else layer.nf)


def inserted(model: Module) -> list[Bottleneck]:
    """All adapters of the model."""
    return [part for part in model.modules() if isinstance(part, Bottleneck)]


@contextmanager
def disabled(model: Module) -> Iterator[None]:
    """The model without its adapters."""
    adapters = inserted(model)
    before = [adapter.enabled for adapter in adapters]
    try:
        for adapter in adapters:
            adapter.enabled = False
        yield
    finally:
        for adapter, enabled in zip(adapters, before, strict=True):
            adapter.enabled = enabled
