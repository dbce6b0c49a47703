"""Masked language modelling: which tokens are hidden, what stands in their place, and their log-probabilities."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import Identity, Module

from tuneforge.errors import ConfigError
from tuneforge.rows import Encoded
from tuneforge.training.loss.likelihood import score_tokens
from tuneforge.training.mode import evaluating

if TYPE_CHECKING:
    from tuneforge.rows import Batch

IGNORE = -100
HIDDEN, RANDOM = 0.8, 0.1
"""Shares of the chosen tokens that become the mask token, and a random one; the rest stays (arXiv:1810.04805)."""


class Mask(NamedTuple):
    """How much is masked, by which token, and from how many ids a random one is drawn."""

    probability: float
    token: int
    vocabulary: int


def chosen(candidates: int, probability: float) -> int:
    """How many of a row's tokens are to be predicted: the nearest number, and one at least."""
    return min(candidates, max(1, int(probability * candidates + 0.5)))


def chunks(encoded: Encoded, limit: int) -> Iterator[Encoded]:
    """Pieces of nearly equal length, each between the special tokens that stand `before` and `after` the row.

    ConfigError where these alone fill `limit` tokens.
    """
    ids, labels = list(encoded.parts["input_ids"]), list(encoded.parts["labels"])
    before, after = int(encoded.extras["before"]), int(encoded.extras["after"])
    end = len(ids) - after
    room = limit - before - after
    if room < 1:
        raise ConfigError(f"batch.max_length={limit}: the tokenizer's special tokens around a text fill it")
    count = -(-(end - before) // room)
    cuts = [before + i * (end - before) // count for i in range(count + 1)]
    for start, stop in pairwise(cuts):
        piece = [*ids[:before], *ids[start:stop], *ids[end:]]
        yield Encoded(
            {"input_ids": piece, "labels": [IGNORE] * before + labels[start:stop] + [IGNORE] * after}, encoded.extras
        )


def hide(
    batch: Batch, mask: Mask, fixed: int | None = None, streams: Sequence[torch.Generator] = ()
) -> tuple[Tensor, Tensor]:
    """(ids with tokens hidden, labels), both int64 (rows, length); labels are -100 where nothing is predicted.

    Tokens with a label other than -100 in `batch` may be chosen. The draws come from the stream of each row, or
    without `streams` row by row from torch's global generator, so that they do not depend on how rows are put
    together; with `fixed`, a seed, from one of its own per row, so that a row is always masked alike.
    """
    ids, labels = batch["input_ids"].cpu(), batch["labels"].cpu()
    hidden, targets = ids.clone(), torch.full_like(labels, IGNORE)
    for row in range(len(ids)):
        places = (labels[row] != IGNORE).nonzero()[:, 0]
        if not len(places):
            continue
        generator = streams[row] if streams else None if fixed is None else _generator(ids[row, places], fixed)
        n = chosen(len(places), mask.probability)
        order, kind = (torch.rand(len(places), generator=generator) for _ in range(2))
        words = torch.randint(mask.vocabulary, (len(places),), generator=generator)
        places = places[order.argsort()[:n]]
        kind, words = kind[:n], words[:n]
        targets[row, places] = ids[row, places]
        hidden[row, places[kind < HIDDEN]] = mask.token
        swapped = (kind >= HIDDEN) & (kind < HIDDEN + RANDOM)
        hidden[row, places[swapped]] = words[swapped]
    device = batch["input_ids"].device
    return hidden.to(device), targets.to(device)


def _generator(ids: Tensor, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(ids.numpy().tobytes(), seed))


def log_probs(model: Module, ids: Tensor, attention_mask: Tensor, targets: Tensor) -> Tensor:
    """(n,) float32 log-probability of each target that is not -100, row by row, at its own place.

    The head is applied to those places only, where that is proved to give the same.
    """
    keep = targets != IGNORE
    if not head_stands_alone(model):
        logits = model(input_ids=ids, attention_mask=attention_mask).logits[keep]
    else:
        with _only(model, keep):
            logits = model(input_ids=ids, attention_mask=attention_mask).logits[0]
    return score_tokens(Identity(), logits.shape[-1], logits, targets[keep])


_ALONE: WeakKeyDictionary[Module, bool] = WeakKeyDictionary()


def head_stands_alone(model: Module) -> bool:
    """Whether the head of this very model gives the same where it is applied to some places only; tried once."""
    if model not in _ALONE:
        _ALONE[model] = _stands_alone(model)
    return _ALONE[model]


def _stands_alone(model: Module) -> bool:
    ids = torch.arange(5, 13, device=next(model.parameters()).device).reshape(2, 4)
    keep = (ids % 3) == 0
    with evaluating(model), torch.no_grad():
        whole = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[keep].float()
        try:
            with _only(model, keep):
                some = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        except (AttributeError, RuntimeError, TypeError, ValueError):  # a head that wants whole rows
            return False
    if some.shape != (1, *whole.shape):
        return False
    return bool((some[0].float() - whole).abs().max() <= 1e-3 * max(1.0, float(whole.abs().max())))


@contextmanager
def _only(model: Any, keep: Tensor) -> Iterator[None]:
    """The body's last states reduced to one row (1, kept, width) of the places in `keep`, before the head."""

    def reduce(module: Any, arguments: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[keep].unsqueeze(0)
        return output

    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    handle = whole.base_model.register_forward_hook(reduce)
    try:
        yield
    finally:
        handle.remove()
