"""Noise on the embeddings while training (NEFTune, Jain et al. 2023, arXiv:2310.05914)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.nn import Module


@contextmanager
def noisy_embeddings(model: Module, alpha: float) -> Iterator[None]:
    """Uniform noise within alpha / sqrt(length x width) on what the input embeddings give in training mode.

    transformers' own, drawn from torch's global generator. 0: nothing is done.
    """
    if not alpha:
        yield
        return
    from transformers.integrations.neftune import activate_neftune, deactivate_neftune

    handle = activate_neftune(model, alpha)
    try:
        yield
    finally:
        deactivate_neftune(model, handle)
