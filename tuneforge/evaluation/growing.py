"""A key-value cache with room to grow: a token is written behind the others, which are not copied for it."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens for which room is made at a time."""


class Growing(DynamicLayer):  # type: ignore[misc]
    """transformers' `DynamicLayer`, whose keys and values (rows, heads, tokens, width) are the front of larger ones."""

    keys: Tensor
    values: Tensor
    space: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """As that of the base: keys and values of all tokens so far."""
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if self.space is None or self.space[0].shape[-2] < after:
            self.space = _roomy(self.keys, after), _roomy(self.values, after)
        for whole, new in zip(self.space, (key_states, value_states), strict=True):
            whole[:, :, before:after] = new
        self.keys, self.values = (whole[:, :, :after] for whole in self.space)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """As that of the base."""
        super().batch_select_indices(indices)
        self.space = None


def _roomy(states: Tensor, length: int) -> Tensor:
    rows, heads, before, width = states.shape
    made = states.new_empty(rows, heads, length + ROOM, width)
    made[:, :, :before] = states
    return made


def grow(cache: Any) -> None:
    """Let the plain layers of a filled cache grow so; those that keep less, or more, than all tokens stay."""
    if type(cache) is DynamicCache:
        for layer in cache.layers:
            if type(layer) is DynamicLayer and layer.is_initialized:
                layer.__class__ = Growing
