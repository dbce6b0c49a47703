"""Log-probabilities of labelled tokens, with the head applied only where a label is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Identity, Linear, Module, Parameter

from tuneforge.training.loss import chunked_head, linear_cross_entropy
from tuneforge.training.loss.smoothing import margins
from tuneforge.training.mode import evaluating

if TYPE_CHECKING:
    from tuneforge.rows import Batch

SMALL = 2**20
"""Logits up to which they are made in one piece by torch's own functions."""
LARGEST, LARGEST_ON_GPU = 2**23, 2**26
"""Most logits that exist at once; beyond, positions are worked through in chunks."""
FEWEST = 128
"""Positions per chunk at least: with fewer, matrix products are slow."""
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
    found = states(model, parts, inputs(batch, part))[:, :-1]
    return scored(parts, found, batch[f"{part}.labels" if part else "labels"])


def states(model: Module, parts: Parts | None, fields: dict[str, Tensor]) -> Tensor:
    """(rows, length, width) what `scored` takes: states before the head, or logits where there are no parts."""
    if parts is None:
        logits: Tensor = model(**fields, use_cache=False).logits
        return logits
    return hidden_states(parts, fields)


def scored(parts: Parts | None, states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """As `token_log_probs`: `states` (rows, length - 1, width) predict `labels` (rows, length) from the second on."""
    keep = labels[:, 1:] != IGNORE
    chosen, targets = states[keep], labels[:, 1:][keep]
    scores = score_tokens(*_head(parts, states), chosen, targets)
    return torch.zeros(keep.shape, dtype=torch.float32, device=scores.device).masked_scatter(keep, scores), keep


def log_probs(model: Module, parts: Parts | None, batch: Batch, part: str = "") -> tuple[Tensor, Tensor]:
    """Summed log-probability (nats, float32) of each row's labelled tokens, and their count, both (rows,)."""
    scores, keep = token_log_probs(model, parts, batch, part)
    return scores.sum(1), keep.sum(1)


def summed(
    model: Module, parts: Parts | None, batch: Batch, part: str = "", smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Log-probability (nats, float32) of all labelled tokens of the batch together, and their count, both ().

    Dearer to ask row by row: of a sum all gradients are made while its logits are at hand. `smoothing` is the share
    of each label that is spread over the vocabulary.
    """
    found = states(model, parts, inputs(batch, part))[:, :-1]
    labels = batch[f"{part}.labels" if part else "labels"][:, 1:]
    keep = labels != IGNORE
    head, vocabulary = _head(parts, found)
    chosen, targets, plain = found[keep], labels[keep], linear_of(head)
    size = chunk(vocabulary, chosen.device)
    if plain is None or len(chosen) * vocabulary <= SMALL:
        total = score_tokens(head, vocabulary, chosen, targets).sum()
    else:
        total = linear_cross_entropy.likelihood(chosen, plain.weight, plain.bias, targets, size)
    if smoothing and len(chosen):
        total = total - smoothing * margins(head, plain, chosen, targets, size)
    return total, keep.sum()


def score_tokens(head: Module, vocabulary: int, states: Tensor, targets: Tensor) -> Tensor:
    """(n,) float32 log-probability of each target id given its state (n, width).

    Where the logits are many, chunks are computed one after the other, and again in the backward pass where the
    head trains or is no plain linear layer, so that one chunk's logits are all that is held.
    """
    size = chunk(vocabulary, states.device)
    plain = linear_of(head)
    if plain is not None and not plain.weight.requires_grad and len(states) * vocabulary > SMALL:
        return linear_cross_entropy.scores(states, plain.weight, plain.bias, targets, size)
    if len(states) <= 2 * size:
        return chunked_head.whole(head, states, targets)
    if plain is not None:
        return linear_cross_entropy.scores(states, plain.weight, plain.bias, targets, size)
    return chunked_head.scores(head, states, targets, size)


def chunk(vocabulary: int, device: torch.device) -> int:
    """Positions whose logits exist at once."""
    return max(FEWEST, (LARGEST if device.type == "cpu" else LARGEST_ON_GPU) // vocabulary)


def linear_of(head: Any) -> Linear | None:
    """The linear layer that the head is, also one that PEFT trains whole (`modules_to_save`).

    None for any other head (adapted by LoRA, quantised, sharded, hooked, a function): its own forward is called.
    """
    if hasattr(head, "modules_to_save") and hasattr(head, "original_module"):
        off = head.disable_adapters or not head.active_adapters
        head = head.original_module if off else head.modules_to_save[head.active_adapters[0]]
    if type(head) is not Linear or type(head.weight) not in (Parameter, Tensor) or "forward" in vars(head):
        return None
    return None if head._forward_hooks or head._forward_pre_hooks else head


def _head(parts: Parts | None, states: Tensor) -> tuple[Module, int]:
    """What makes logits of `states`, and the vocabulary's size."""
    return (Identity(), states.shape[-1]) if parts is None else (parts.head, _width(parts.head))


def _width(head: Module) -> int:
    """Vocabulary size of a head; its largest side where it does not say."""
    out = getattr(head, "out_features", None)
    return int(out) if out is not None else max(max(p.shape) for p in head.parameters())
