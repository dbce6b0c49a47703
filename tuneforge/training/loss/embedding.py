"""Texts as vectors: token states pooled into one embedding per row, and the contrast within a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torch.utils.checkpoint import checkpoint

from tuneforge.training.mode import evaluating

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.rows import Batch


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """(rows, width) float32 from states (rows, length, width) and a right-padded mask (rows, length).

    `mean` over the tokens of the row, `cls` its first token, `last` its last one.
    """
    states = states.float()
    if pooling == "mean":
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    raise ValueError(f"no pooling '{pooling}'")


def embed(
    model: Module, batch: Batch, part: str, pooling: str, *, normalise: bool = True, chunk: int | None = None
) -> Tensor:
    """(rows, width) float32 embeddings of one part of a batch, of unit length where `normalise`.

    With `chunk`, so many rows at a time, whose activations are computed again in the backward pass: the
    gradient is that of all rows at once, the memory that of one chunk (gradient caching, arXiv:2101.06983).
    """
    prefix = f"{part}." if part else ""
    ids, mask = batch[f"{prefix}input_ids"], batch[f"{prefix}attention_mask"]
    size = chunk or len(ids)
    once = _embed if len(ids) <= size or not torch.is_grad_enabled() else _again
    pieces = zip(torch.split(ids, size), torch.split(mask, size), strict=True)
    whole = torch.cat([once(model, i, m, pooling) for i, m in pieces])
    return normalize(whole, dim=1) if normalise else whole


def _embed(model: Any, ids: Tensor, mask: Tensor, pooling: str) -> Tensor:
    width = int(mask.sum(1).max())  # a chunk may be narrower than its batch
    ids, mask = ids[:, :width], mask[:, :width]
    return pool(model(input_ids=ids, attention_mask=mask).last_hidden_state, mask, pooling)


def _again(model: Module, ids: Tensor, mask: Tensor, pooling: str) -> Tensor:
    found: Tensor = checkpoint(_embed, model, ids, mask, pooling, use_reentrant=False)
    return found


def first_sees_all(model: Any) -> bool:
    """Whether the state of a text's first token depends on its last one; it does not in causal models."""
    device = next(model.parameters()).device
    with evaluating(model), torch.no_grad():
        ids = torch.tensor([[5, 6, 7], [5, 6, 8]], device=device)
        states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[:, 0]
    return bool((states[0] - states[1]).abs().max() > 0)


class Contrast(NamedTuple):
    """The contrast of a batch: a loss per pair, how many candidates were left out, and pairs that rank first."""

    losses: Tensor
    false_negatives: Tensor
    first: Tensor


def contrast(
    anchors: Tensor, candidates: Tensor, same: Tensor, temperature: float, *, symmetric: bool = False
) -> Contrast:
    """InfoNCE (arXiv:1807.03748): cross-entropy of each anchor's own positive among all candidates of the batch.

    `anchors` (n, width) and `candidates` (n positives, then any hard negatives; width), unit vectors for
    cosine. `same` (n, candidates) is True where a candidate other than an anchor's own positive answers it too:
    it is left out. `symmetric` averages with the loss of finding the anchor of each positive.
    """
    scores = (anchors @ candidates.T / temperature).masked_fill(same, float("-inf"))
    own = torch.arange(len(anchors), device=scores.device)
    losses = cross_entropy(scores, own, reduction="none")
    if symmetric:
        losses = (losses + cross_entropy(scores[:, : len(own)].T, own, reduction="none")) / 2
    return Contrast(losses, same.sum(), (scores.argmax(1) == own).sum())


def same_answers(batch: Batch, parts: list[str]) -> Tensor:
    """(n, candidates) bool: the candidate is no anchor's own positive, but the same text, or has the same anchor.

    `parts` are the candidates' parts, `positive` first. The own positive of a row is never marked.
    """
    anchor, positive = (_rows(batch, part) for part in ("anchor", "positive"))
    others = [row for part in parts for row in _rows(batch, part)]
    n = len(anchor)
    found = [
        [j != i and (text == positive[i] or (j < n and anchor[j] == anchor[i])) for j, text in enumerate(others)]
        for i in range(n)
    ]
    return torch.tensor(found, dtype=torch.bool, device=batch["anchor.input_ids"].device)


def _rows(batch: Batch, part: str) -> list[tuple[int, ...]]:
    """Token ids of each row without padding."""
    lengths = batch[f"{part}.attention_mask"].sum(1).tolist()
    return [tuple(ids[:n]) for ids, n in zip(batch[f"{part}.input_ids"].tolist(), lengths, strict=True)]
