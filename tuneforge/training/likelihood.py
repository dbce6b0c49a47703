"""Log-probabilities of labelled tokens, with the head applied only where a label is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from tuneforge.training.mode import evaluating

if TYPE_CHECKING:
    from tuneforge.rows import Batch

LARGEST = 2**24
"""Most logits that exist at once; beyond, positions are worked through in chunks."""
IGNORE = -100


class Parts(NamedTuple):
    """A causal language model cut before its head."""

    decoder: Module
    head: Module


def find_parts(model: Module) -> Parts | None:
    """Decoder and head of a transformers model, also under PEFT; None where they cannot be told apart."""
    prompt_learning = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
    if prompt_learning:  # virtual tokens enter in PEFT's own forward
        return None
    base: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    if not hasattr(base, "get_decoder") or not hasattr(base, "get_output_embeddings"):
        return None
    decoder, head = base.get_decoder(), base.get_output_embeddings()
    return None if decoder is None or decoder is base or head is None else Parts(decoder, head)


def proved_parts(model: Module) -> tuple[Parts | None, str]:
    """(parts, "") where head(decoder(x)) gives this very model's logits, else (None, why not).

    Models that scale or cap their logits after the head are found here. Weights, modes and generators
    are left as they were.
    """
    parts = find_parts(model)
    if parts is None:
        return None, "it has no decoder and head that can be called apart"
    with evaluating(model), torch.no_grad():
        ids = torch.arange(1, 9, device=next(model.parameters()).device).unsqueeze(0)
        whole = model(input_ids=ids, use_cache=False).logits.float()
        apart = parts.head(hidden_states(parts, {"input_ids": ids})).float()
    if whole.shape != apart.shape:
        return None, f"head after decoder gives {tuple(apart.shape)} instead of {tuple(whole.shape)}"
    gap = float((whole - apart).abs().max())
    if gap > 1e-3 * max(1.0, float(whole.abs().max())):
        return None, f"head after decoder differs from its logits by {gap:.3g}"
    return parts, ""


def inputs(batch: Batch, part: str) -> dict[str, Tensor]:
    """What the model takes of one part of the batch."""
    prefix = f"{part}." if part else ""
    names = ("input_ids", "attention_mask", "position_ids")
    return {n: batch[prefix + n] for n in names if prefix + n in batch}


def hidden_states(parts: Parts, fields: dict[str, Tensor]) -> Tensor:
    """(rows, length, width) states after the last layer and its norm."""
    states: Tensor = parts.decoder(**fields, use_cache=False).last_hidden_state
    return states


def token_log_probs(model: Module, parts: Parts | None, batch: Batch, part: str = "") -> tuple[Tensor, Tensor]:
    """(rows, length - 1) float32 log-probability (nats) of each labelled token, 0 elsewhere; and the mask of them."""
    labels = batch[f"{part}.labels" if part else "labels"][:, 1:]
    keep = labels != IGNORE
    fields = inputs(batch, part)
    if parts is None:
        states = model(**fields, use_cache=False).logits[:, :-1][keep]
        scores = score_tokens(lambda x: x, states.shape[-1], states, labels[keep])
    else:
        states = hidden_states(parts, fields)[:, :-1][keep]
        scores = score_tokens(parts.head, _width(parts.head), states, labels[keep])
    return torch.zeros(keep.shape, dtype=torch.float32, device=scores.device).masked_scatter(keep, scores), keep


def log_probs(model: Module, parts: Parts | None, batch: Batch, part: str = "") -> tuple[Tensor, Tensor]:
    """Summed log-probability (nats, float32) of each row's labelled tokens, and their count, both (rows,)."""
    scores, keep = token_log_probs(model, parts, batch, part)
    return scores.sum(1), keep.sum(1)


def score_tokens(head: Callable[[Tensor], Tensor], vocabulary: int, states: Tensor, targets: Tensor) -> Tensor:
    """(n,) float32 log-probability of each target id given its state (n, width).

    Where n x vocabulary passes LARGEST, chunks are computed one after the other, and again in the backward
    pass, so that one chunk's logits are all that is held.
    """
    size = max(1, LARGEST // vocabulary)
    if len(states) <= size:
        return _scores(head, states, targets)
    pieces = zip(torch.split(states, size), torch.split(targets, size), strict=True)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(_scores, head, s, t, use_reentrant=False) for s, t in pieces])
    return torch.cat([_scores(head, s, t) for s, t in pieces])


def _scores(head: Callable[[Tensor], Tensor], states: Tensor, targets: Tensor) -> Tensor:
    return -cross_entropy(head(states).float(), targets, reduction="none")


def _width(head: Module) -> int:
    """Vocabulary size of a head; its largest side where it does not say."""
    out = getattr(head, "out_features", None)
    return int(out) if out is not None else max(max(p.shape) for p in head.parameters())
