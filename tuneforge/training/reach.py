"""Whether what trains can change what the model says: an adapter that the model passes over would train nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from tuneforge.errors import ConfigError

SHOWN = 3
LONGEST = 16
"""Tokens of a row that are enough to tell."""


def require(model: Module, ids: Sequence[int], adapter: str) -> None:
    """ConfigError where the output for these token ids depends on nothing that trains, a new head left aside.

    `model` has its adapter and trains. One short forward and backward pass; gradients are None afterwards.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    inner = {name: p for name, p in trained.items() if not _of_head(model, name)} or trained
    if not inner:
        raise ConfigError(f"adapter={adapter}: nothing trains; choose what does, or another adapter")
    device = next(model.parameters()).device
    tokens = torch.tensor([list(ids[:LONGEST])], device=device)
    found: Any = model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
    output: Tensor = found.logits if getattr(found, "logits", None) is not None else found.last_hidden_state
    try:
        if output.requires_grad:
            (output.float() * torch.randn_like(output, dtype=torch.float32)).sum().backward()  # type: ignore[no-untyped-call]
        if any(p.grad is not None and bool((p.grad != 0).any()) for p in inner.values()):
            return
    finally:
        for parameter in trained.values():
            parameter.grad = None
    kind = type(model.get_base_model() if hasattr(model, "get_base_model") else model).__name__  # type: ignore[operator]
    names = ", ".join(list(inner)[:SHOWN]) + (f" and {len(inner) - SHOWN:,} more" if len(inner) > SHOWN else "")
    raise ConfigError(
        f"adapter={adapter}: {kind} passes over what would train ({names}): its output does not depend on that;"
        " choose another adapter, as lora"
    )


def _of_head(model: Any, name: str) -> bool:
    """Whether the parameter is of a head that trains beside the adapter."""
    if hasattr(model, "peft_config"):
        return ".modules_to_save." in name
    body = getattr(model, "base_model_prefix", "")
    return hasattr(model, body) and name.split(".")[0] != body
