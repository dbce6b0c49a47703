"""Decoding of a batch with a key-value cache; rows that have ended leave the batch, several at a time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

TAIL = 8
"""How many last tokens are decoded to look for the text that ends an answer."""
SPARSE = 0.875
"""Share of a batch's rows: when no more go on, the others leave it. Each time, what is cached is copied."""

Choose = Callable[["Tensor", Sequence[int]], "Tensor"]
"""Logits (alive, vocabulary) of the next token, and the number of each alive continuation → ids (alive,)."""


def forward_options(model: PreTrainedModel, **options: Any) -> dict[str, Any]:
    """Those options that the model's forward takes by name (OPT, say, takes no position_ids)."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    known = inspect.signature(inner.forward).parameters
    return {k: v for k, v in options.items() if k in known}


class Decoded(NamedTuple):
    """What a greedy model said."""

    ids: list[int]
    """Without the id that ended it."""
    finish: str
    """`stop` or `length`."""
    log_prob: float
    """Nats: float64 sum of the float32 log-softmax of the generated tokens and of the one that ended them."""


def greedy(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    stop: set[int],
    pad: int,
    stop_text: str = "",
    decode: Callable[[Sequence[int]], str] = str,
) -> list[Decoded]:
    """As `continued`, with the likeliest token each time: equal to `model.generate` row by row."""
    sums = [0.0] * len(prompts)

    def choose(logits: Tensor, alive: Sequence[int]) -> Tensor:
        largest, tokens = logits.float().max(-1)
        for row, nats in zip(alive, (largest - logits.float().logsumexp(-1)).tolist(), strict=True):
            sums[row] += nats
        return tokens

    found = continued(model, prompts, limits, stop, pad, choose, 1, stop_text, decode)
    return [Decoded(*one, nats) for one, nats in zip(found, sums, strict=True)]


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

    from tuneforge.evaluation.growing import grow

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
    named = forward_options(model, position_ids=None, logits_to_keep=1)
    rows, live, cache = list(range(len(answers))), list(range(len(answers))), None  # slot → row, slots that go on
    while True:
        if "position_ids" in named:
            named["position_ids"] = position
        out = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **named)
        first, cache, logits = cache is None, out.past_key_values, out.logits[:, -1]
        if first and copies > 1:
            cache.batch_repeat_interleave(copies)
            logits, mask, position = (x.repeat_interleave(copies, dim=0) for x in (logits, mask, position))
        if first:
            grow(cache)
        at = torch.tensor(live, device=mask.device)
        chosen = choose(logits if len(live) == len(rows) else logits[at], [rows[slot] for slot in live])
        token = chosen.new_full((len(rows),), pad).index_copy(0, at, chosen)
        live = [slot for slot, t in zip(live, chosen.tolist(), strict=True) if goes_on(rows[slot], t)]
        if not live:
            return list(zip(answers, finish, strict=True))
        if len(live) <= SPARSE * len(rows):
            index = torch.tensor(live, device=mask.device)
            cache.batch_select_indices(index)
            mask, position, token = mask[index], position[index], token[index]
            rows, live = [rows[slot] for slot in live], list(range(len(live)))
        # A row that has ended and is still there takes no further position: there may be none.
        going = mask.new_zeros(len(rows), 1).index_fill(0, torch.tensor(live, device=mask.device), 1)
        ids, mask, position = token[:, None], torch.cat([mask, going], dim=1), position[:, -1:] + going


def _left_pad(prompts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """int64 ids and mask, both (rows, longest)."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts], dtype=torch.long)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], dtype=torch.long)
    return ids.to(device), mask.to(device)
