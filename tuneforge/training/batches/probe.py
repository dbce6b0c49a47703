"""Does this very model keep packed documents apart? Measured, not assumed."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

from tuneforge.rows import Encoded
from tuneforge.training.batches.collate import collate_packed
from tuneforge.training.mode import evaluating

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel
    from transformers import PreTrainedTokenizerBase as Tokenizer

LIMIT = 1e-4
"""Logit difference above which packing is turned off."""
LENGTHS = (13, 11)
"""Tokens of the two documents."""


def isolation(model: PreTrainedModel, tokenizer: Tokenizer) -> float:
    """Largest difference between the logits of two documents packed into one sequence and alone.

    Infinite for a model that takes no `position_ids`, or fails on a pack. In 16-bit types sums round
    differently with the shape, so there the second document's logits behind two different first documents
    are compared, whose shape is the same; against those of the document alone only what rounding cannot
    explain counts. Weights, mode and generators are left as they were.
    """
    import torch

    inner = getattr(model, "get_base_model", lambda: model)()  # PEFT passes on what it does not name
    if "position_ids" not in inspect.signature(inner.forward).parameters:
        return math.inf
    vocabulary = min(len(tokenizer), int(model.get_input_embeddings().weight.shape[0]))
    generator = torch.Generator().manual_seed(0)
    first, second, other = (
        torch.randint(vocabulary, (n,), generator=generator).tolist() for n in (*LENGTHS, LENGTHS[0])
    )
    with evaluating(model), torch.no_grad():
        try:
            packed = _logits(model, [first, second])
            alone = torch.cat([_logits(model, [first]), _logits(model, [second])])
            swapped = _logits(model, [other, second])[len(first) :]
        except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError):
            return math.inf
    return _difference(packed, alone, swapped, torch.finfo(model.dtype).eps)


def _difference(packed: Tensor, alone: Tensor, swapped: Tensor, eps: float) -> float:
    apart = float((packed - alone).abs().max())
    if eps < 1e-5:
        return apart
    leak = float((packed[-len(swapped) :] - swapped).abs().max())
    rounding = 16 * eps * float(alone.abs().max())
    return leak if apart <= rounding else max(leak, apart)


def _logits(model: Any, documents: list[list[int]]) -> Tensor:
    """(tokens, vocabulary) float32 logits of documents in one sequence."""
    rows = [Encoded({"input_ids": d, "labels": d}) for d in documents]
    batch = collate_packed([rows], pad=0, length=sum(map(len, documents)))
    del batch["labels"]
    device = next(model.parameters()).device
    logits: Tensor = model(**{k: v.to(device) for k, v in batch.items()}, use_cache=False).logits[0].float()
    return logits
