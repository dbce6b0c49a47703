"""Sampled continuations of prompts, for objectives that learn from what the model itself says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import Module

from tuneforge.evaluation.decoding import continued
from tuneforge.training.batches.collate import IGNORE
from tuneforge.training.loss.likelihood import Parts
from tuneforge.training.mode import evaluating

if TYPE_CHECKING:
    from torch import Tensor

    from tuneforge.rows import Batch, Sampling


class Continuation(NamedTuple):
    """Ids after a prompt, the stop token included; `truncated` where none came within the limit."""

    ids: list[int]
    truncated: bool


def sample(
    model: Module,
    prompts: Sequence[Sequence[int]],
    n: int,
    sampling: Sampling,
    stop: set[int],
    pad: int,
    streams: Sequence[torch.Generator] | None = None,
) -> list[Continuation]:
    """n continuations of each prompt, one prompt's after the other; eval mode, no gradients.

    Every continuation has a random stream of its own, seeded in their order from the prompt's own stream, or without
    `streams` from torch's global generator. So a resumed run draws the same tokens, and neither padding, nor how rows
    are cut into micro-batches, nor when the others end changes a draw. Temperature 0 takes the likeliest token and
    draws nothing.
    """
    drawn: list[list[int]] = [[] for _ in range(len(prompts) * n)]
    device = next(model.parameters()).device
    from_ = streams or [torch.default_generator] * len(prompts)
    uniform = _uniform(from_, n, sampling.max_tokens) if sampling.temperature else torch.empty(0)

    def choose(logits: Tensor, alive: Sequence[int]) -> Tensor:
        if sampling.temperature:
            at = torch.stack([uniform[row, len(drawn[row])] for row in alive])
            tokens = pick(logits, at.to(device), sampling)
        else:
            tokens = logits.argmax(-1)
        for row, token in zip(alive, tokens.tolist(), strict=True):
            drawn[row].append(token)
        return tokens

    limits = [sampling.max_tokens] * len(prompts)
    with evaluating(model), torch.no_grad():
        ended = continued(model, prompts, limits, stop, pad, choose, n)
    return [Continuation(ids, finish == "length") for ids, (_, finish) in zip(drawn, ended, strict=True)]


def _uniform(streams: Sequence[torch.Generator], n: int, length: int) -> Tensor:
    """(streams x n, length) float64 in [0, 1), n rows per stream, each from a generator seeded by it."""
    rows = []
    for stream in streams:
        for _ in range(n):
            own = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=stream)))
            rows.append(torch.rand(length, generator=own, dtype=torch.float64))
    return torch.stack(rows)


def pick(logits: Tensor, at: Tensor, sampling: Sampling) -> Tensor:
    """(rows,) ids: where `at` (rows,) in [0, 1) falls in the distribution of the logits (rows, vocabulary).

    top_k keeps the k likeliest tokens, top_p then the fewest of these whose probability reaches p, as transformers.
    """
    scaled = logits.double() / sampling.temperature
    if sampling.top_k:
        least = scaled.topk(min(sampling.top_k, scaled.shape[-1])).values[:, -1:]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    probabilities = scaled.softmax(-1)
    if sampling.top_p < 1:
        ordered, places = probabilities.sort(descending=True)
        surplus = ordered.cumsum(-1) - ordered >= sampling.top_p
        probabilities = probabilities.masked_fill(surplus.gather(-1, places.argsort(-1)), 0.0)
    steps = probabilities.cumsum(-1)
    found = torch.searchsorted(steps, (at.to(steps) * steps[:, -1]).unsqueeze(-1), right=True)
    # Rounding may put a draw next to 1 at the very end, where a token without probability can stand.
    last = (probabilities > 0).long().cumsum(-1).argmax(-1, keepdim=True)
    return torch.minimum(found, last).squeeze(-1)


def cooled(model: Module, parts: Parts | None, temperature: float) -> tuple[Module, Parts | None]:
    """Model and parts whose logits are divided by the temperature."""
    if parts is not None:
        return model, Parts(parts.decoder, _Cooled(parts.head, temperature))
    return _Cooled(model, temperature), None


class _Cooled(Module):
    """A model, or its head, with its logits divided by a temperature."""

    def __init__(self, inner: Module, temperature: float) -> None:
        super().__init__()
        self.inner, self.temperature = inner, temperature

    def forward(self, *values: Any, **named: Any) -> Any:
        found = self.inner(*values, **named)
        if not hasattr(found, "logits"):
            return found / self.temperature
        found.logits = found.logits / self.temperature
        return found


def prompts_of(batch: Batch, part: str = "") -> list[list[int]]:
    """The ids of each prompt without padding, on whichever side it stands."""
    prefix = f"{part}." if part else ""
    ids, mask = batch[f"{prefix}input_ids"], batch[f"{prefix}attention_mask"].bool()
    return [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)]


def sequences(prompts: Sequence[Sequence[int]], found: Sequence[Continuation], pad: int, device: torch.device) -> Batch:
    """Prompts with their continuations, right-padded: `input_ids`, `attention_mask`, `labels`, all int64
    (sequences, length), labels on the continuation; and `truncated`, bool (sequences,)."""
    n = len(found) // len(prompts)
    rows = [(prompts[i // n], one.ids) for i, one in enumerate(found)]
    width = max(len(prompt) + len(ids) for prompt, ids in rows)

    def padded(make: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([row + [fill] * (width - len(row)) for row in make], dtype=torch.long, device=device)

    return {
        "input_ids": padded([[*prompt, *ids] for prompt, ids in rows], pad),
        "attention_mask": padded([[1] * (len(prompt) + len(ids)) for prompt, ids in rows], 0),
        "labels": padded([[IGNORE] * len(prompt) + list(ids) for prompt, ids in rows], IGNORE),
        "truncated": torch.tensor([one.truncated for one in found], device=device),
    }
