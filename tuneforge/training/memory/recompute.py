"""Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): layers computed again in the backward pass, not kept."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn import Module

from tuneforge.errors import ConfigError


@contextmanager
def checkpointed(model: Module, on: bool) -> Iterator[None]:
    """The model with gradient checkpointing on or off inside the block; as it was afterwards.

    Gradients are the same. ConfigError for a model that cannot.
    """
    base: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    before = bool(getattr(base, "is_activation_checkpointing", False))
    if on and not getattr(base, "supports_gradient_checkpointing", False):
        raise ConfigError(f"batch.gradient_checkpointing: {type(base).__name__} does not have it; set it to false")
    if on != before:
        _switch(base, on)
    try:
        yield
    finally:
        if on != before:
            _switch(base, before)


def _switch(model: Any, on: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if on:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        else:
            model.gradient_checkpointing_disable()
