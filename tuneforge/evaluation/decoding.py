"""Greedy decoding of a batch with a key-value cache; rows that have ended leave the batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

TAIL = 8
"""How many last tokens are decoded to look for the text that ends an answer."""


def forward_options(model: PreTrainedModel, **options: Any) -> dict[str, Any]:
    """Those options that the model's forward takes by name (OPT, say, takes no position_ids)."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    known = inspect.signature(inner.forward).parameters
    return {k: v for k, v in options.items() if k in known}


def greedy(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    stop: set[int],
    pad: int,
    stop_text: str = "",
    decode: Callable[[Sequence[int]], str] = str,
) -> list[tuple[list[int], str]]:
    """Per prompt the ids of its answer (without the id that ended it) and `stop` or `length`.

    Left-padded, positions counted from each row's first token: equal to `model.generate` row by row.
    An answer also ends at `stop_text`, looked for in the decoded last tokens; it then holds that text.
    """
    import torch

    if not forward_options(model, past_key_values=None):
        raise ConfigError(f"generation needs a key-value cache, which {type(model).__name__} does not have")
    answers: list[list[int]] = [[] for _ in prompts]
    finish = ["length"] * len(prompts)

    def goes_on(row: int, token: int) -> bool:
        if token in stop:
            finish[row] = "stop"
            return False
        answers[row].append(token)
        if stop_text and stop_text in decode(answers[row][-TAIL:]):
            finish[row] = "stop"
            return False
        return len(answers[row]) < limits[row]

    ids, mask = _left_pad(prompts, pad, model.device)
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    alive, cache = list(range(len(prompts))), None
    while True:
        options = forward_options(model, position_ids=position, logits_to_keep=1)
        out = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **options)
        cache, token = out.past_key_values, out.logits[:, -1].argmax(-1)
        kept = [slot for slot, (row, t) in enumerate(zip(alive, token.tolist(), strict=True)) if goes_on(row, t)]
        if not kept:
            return list(zip(answers, finish, strict=True))
        position = position[:, -1:] + 1
        if len(kept) < len(alive):
            alive = [alive[slot] for slot in kept]
            index = torch.tensor(kept, device=mask.device)
            cache.batch_select_indices(index)
            mask, position, token = mask[index], position[index], token[index]
        ids, mask = token[:, None], torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)


def _left_pad(prompts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """int64 ids and mask, both (rows, longest)."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts], dtype=torch.long)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], dtype=torch.long)
    return ids.to(device), mask.to(device)
