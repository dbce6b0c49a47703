"""Texts as vectors: token states pooled into one embedding per row, and the contrast within a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torch.utils.checkpoint import checkpoint

from tuneforge.training.devices import world
from tuneforge.training.devices.gathered import gathered
from tuneforge.training.mode import evaluating

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.rows import Batch

Text = tuple[int, ...]


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


class Pool(NamedTuple):
    """The embeddings among which a device's anchors find their positives: those of all devices."""

    anchors: Tensor
    """(N, width) of all devices, in the order of their ranks."""
    candidates: Tensor
    """(M, width): the N positives, then any hard negatives."""
    own: Tensor
    """(n,) places of this device's rows among the N."""
    same: Tensor
    """(n, M) bool: a candidate other than an anchor's own positive that answers it too."""
    absent: Tensor
    """(M,) bool: of a device that only keeps in step with the others."""


def pool_of_all(embeddings: Mapping[str, Tensor], batch: Batch, counts: bool = True) -> Pool:
    """The embeddings by part of this device's batch beside those of all others, with gradients.

    Parts are `anchor` and `positive` with a row each per row of the batch, and maybe `negative`.
    """
    rank, _ = world.place()
    texts = {part: _rows(batch, part) for part in embeddings}
    everyone = world.from_all((counts, texts))
    sizes = [sum(map(len, theirs.values())) for _, theirs in everyone]
    whole = gathered(torch.cat(list(embeddings.values())), sizes)
    # Where each row of a part stands: (rank, row of the gathered embeddings, its text).
    places: dict[str, list[tuple[int, int, Text]]] = {"anchor": [], "positive": [], "negative": []}
    at = 0
    for whose, (_, theirs) in enumerate(everyone):
        for part, rows in theirs.items():
            places[part] += [(whose, at + i, text) for i, text in enumerate(rows)]
            at += len(rows)
    anchors, others = places["anchor"], places["positive"] + places["negative"]
    device = whole.device
    own = torch.tensor([i for i, (whose, _, _) in enumerate(anchors) if whose == rank], device=device)
    absent = torch.tensor([not everyone[whose][0] for whose, _, _ in others], device=device)
    same = _same([text for *_, text in anchors], [text for *_, text in others], own.cpu()).to(device)
    return Pool(
        whole[torch.tensor([i for _, i, _ in anchors], device=device)],
        whole[torch.tensor([i for _, i, _ in others], device=device)],
        own, same & ~absent, absent,
    )  # fmt: skip


def contrast(pool: Pool, temperature: float, *, symmetric: bool = False) -> Contrast:
    """InfoNCE (arXiv:1807.03748): cross-entropy of each own anchor's positive among all candidates.

    Embeddings are unit vectors for cosine. Candidates in `same`, and absent ones, are left out. `symmetric` averages
    with the loss of finding the anchor of each own positive among all anchors.
    """
    own, n = pool.own, len(pool.anchors)
    mine = torch.arange(len(own), device=own.device)
    out = pool.same | pool.absent
    out[mine, own] = False
    scores = (pool.anchors[own] @ pool.candidates.T / temperature).masked_fill(out, float("-inf"))
    losses = cross_entropy(scores, own, reduction="none")
    if symmetric and len(own) == n:
        back = scores[:, :n].T
    elif symmetric:  # two rows answer each other's anchors, or neither does: `out` is its own transpose here
        back = (pool.candidates[own] @ pool.anchors.T / temperature).masked_fill(out[:, :n], float("-inf"))
    if symmetric:
        losses = (losses + cross_entropy(back, own, reduction="none")) / 2
    return Contrast(losses, pool.same.sum(), (scores.argmax(1) == own).sum())


def _same(anchors: Sequence[Text], others: Sequence[Text], own: Tensor) -> Tensor:
    """(own anchors, candidates) bool: not the anchor's own positive, but the same text, or one of the same anchor."""
    numbers: dict[Text, int] = {}
    asked = torch.tensor([numbers.setdefault(text, len(numbers)) for text in anchors])
    given = torch.tensor([numbers.setdefault(text, len(numbers)) for text in others])
    found = given[own, None] == given
    found[:, : len(anchors)] |= asked[own, None] == asked
    found[torch.arange(len(own)), own] = False
    return found


def _rows(batch: Batch, part: str) -> list[Text]:
    """Token ids of each row without padding."""
    lengths = batch[f"{part}.attention_mask"].sum(1).tolist()
    return [tuple(ids[:n]) for ids, n in zip(batch[f"{part}.input_ids"].tolist(), lengths, strict=True)]
