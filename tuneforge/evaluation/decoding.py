"""Decoding of a batch with a key-value cache; rows that have ended leave the batch."""

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


Choose = Callable[["Tensor", Sequence[int]], "Tensor"]
"""Logits (alive, vocabulary) of the next token, and the number of each alive continuation → ids (alive,)."""


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
    """As `continued`, with the likeliest token each time: equal to `model.generate` row by row."""
    return continued(model, prompts, limits, stop, pad, lambda logits, _: logits.argmax(-1), 1, stop_text, decode)


def continued(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    stop: set[int],
    pad: int,
    choose: Choose,
    copies: int = 1,
    stop_text: str = "",
    decode: Callable[[Sequence[int]], str] = str,
) -> list[tuple[list[int], str]]:
    """Per continuation its ids (without the id that ended it) and `stop` or `length`.

    Each prompt is read once and continued `copies` times, one after the other in the result; `limits` holds the
    most tokens of each prompt's continuations. Left-padded, positions counted from each row's first token. A
    continuation also ends at `stop_text`, looked for in the decoded last tokens; it then holds that text.
    """
    import torch

    if not forward_options(model, past_key_values=None):
        raise ConfigError(f"generation needs a key-value cache, which {type(model).__name__} does not have")
    answers: list[list[int]] = [[] for _ in range(len(prompts) * copies)]
    finish = ["length"] * len(answers)

    def goes_on(row: int, token: int) -> bool:
        if token in stop:
            finish[row] = "stop"
            return False
        answers[row].append(token)
        if stop_text and stop_text in decode(answers[row][-TAIL:]):
            finish[row] = "stop"
            return False
        return len(answers[row]) < limits[row // copies]

    ids, mask = _left_pad(prompts, pad, model.device)
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    alive, cache = list(range(len(answers))), None
    while True:
        options = forward_options(model, position_ids=position, logits_to_keep=1)
        out = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **options)
        first, cache, logits = cache is None, out.past_key_values, out.logits[:, -1]
        if first and copies > 1:
            cache.batch_repeat_interleave(copies)
            logits, mask, position = (x.repeat_interleave(copies, dim=0) for x in (logits, mask, position))
        token = choose(logits, alive)
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
