"""Tensors of all devices in one, through which gradients find their way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gathered(mine: Tensor, sizes: Sequence[int]) -> Tensor:
    """(sum of sizes, ...): the rows of all devices in the order of their ranks; `sizes` is how many each has.

    Every device calls it, and its backward pass too. There the gradients of all devices' losses are added: the
    gradient of a row is that of the sum of these losses, of which each device knows its own.
    """
    if not dist.is_initialized():
        return mine
    found: Tensor = _Gathered.apply(mine, tuple(sizes))  # type: ignore[no-untyped-call]
    return found


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine: Tensor, sizes: tuple[int, ...]) -> Tensor:
        rank = dist.get_rank()
        ctx.rows = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        padded = mine.new_zeros(max(sizes), *mine.shape[1:])
        padded[: len(mine)] = mine
        found = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(found, padded)
        return torch.cat([rows[:size] for rows, size in zip(found, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        whole = gradients[0].contiguous().clone()
        dist.all_reduce(whole)
        return whole[ctx.rows], None
