"""Encoded rows as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuneforge.rows import Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from tuneforge.rows import Batch

IGNORE = -100
"""A label that carries no loss."""


def parts_of(encoded: Encoded) -> list[str]:
    """Parts that carry labels: `chosen` and `rejected`, or the nameless one."""
    return [n.removesuffix("labels").removesuffix(".") for n in encoded.parts if n == "labels" or n.endswith(".labels")]


def predicted(encoded: Encoded) -> int:
    """Tokens that are predicted and carry loss, over all parts: the first label of a part predicts nothing."""
    labels = [tokens for name, tokens in encoded.parts.items() if name.endswith("labels")]
    return sum(len(tokens) - 1 - list(tokens[1:]).count(IGNORE) for tokens in labels if len(tokens))


def collate(rows: Sequence[Encoded], pad: int) -> Batch:
    """Right-padded int64 tensors (rows, length) per part, an `attention_mask` beside each `input_ids`.

    Everything but `input_ids` is padded with -100. Extras become float32 tensors of shape (rows,).
    """
    import torch

    batch: Batch = {}
    for name in rows[0].parts:
        tokens = [row.parts[name] for row in rows]
        batch[name] = _padded(tokens, pad if name.endswith("input_ids") else IGNORE)
        if name.endswith("input_ids"):
            lengths = torch.tensor([len(t) for t in tokens])
            width = batch[name].shape[1]
            mask = torch.arange(width).unsqueeze(0) < lengths.unsqueeze(1)
            batch[name.removesuffix("input_ids") + "attention_mask"] = mask.long()
    for name in rows[0].extras:
        batch[name] = torch.tensor([row.extras[name] for row in rows], dtype=torch.float32)
    return batch


def collate_packed(packs: Sequence[Sequence[Encoded]], pad: int, length: int) -> Batch:
    """One pack per batch row: `input_ids`, `labels`, `position_ids`, each int64 (packs, length).

    Positions restart with each document, and once more for the padding at the tail, which thereby is a
    document of its own. The first label of each document is -100: what stands before it is another one.
    There is no attention mask: with one, documents would see each other.
    """
    import torch

    shape = (len(packs), length)
    ids = torch.full(shape, pad)
    labels = torch.full(shape, IGNORE)
    positions = torch.zeros(shape, dtype=torch.long)
    for i, pack in enumerate(packs):
        at = 0
        for row in pack:
            tokens = row.parts["input_ids"]
            end = at + len(tokens)
            if end > length:
                raise ValueError(f"a pack of at least {end} tokens does not fit in {length}")
            ids[i, at:end] = torch.as_tensor(tokens)
            labels[i, at:end] = torch.as_tensor(row.parts["labels"])
            labels[i, at] = IGNORE
            positions[i, at:end] = torch.arange(len(tokens))
            at = end
        positions[i, at:] = torch.arange(length - at)
    return {"input_ids": ids, "labels": labels, "position_ids": positions}


def _padded(rows: Sequence[Sequence[int]], pad: int) -> Tensor:
    import torch

    width = max(map(len, rows))
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], dtype=torch.long)
