"""Log-probabilities of targets under a linear head whose logits never exist all at once.

With logits z = h W^T + b and p = softmax(z), the log-probability of a target t is z_t - logsumexp(z), and its
gradient with respect to z is onehot(t) - p. Positions are worked through in chunks; of each chunk the gradient
is made while its logits are at hand, so that nothing is computed twice where that is possible:

- `likelihood`, the sum: its upstream gradient is one number, so all gradients are made in the forward pass.
- `scores`, a number per position, with a frozen head: the gradient of each state is its upstream gradient times
  a vector that is known in the forward pass.
- `scores` with a head that trains: the head's gradient needs the upstream gradients first; logits are computed
  again in the backward pass, chunk by chunk, without an autograd graph.

Logits are float32 whatever the dtype of states and head, as is the head's gradient while it is summed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear


def likelihood(states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, size: int) -> Tensor:
    """() float32: summed log-probability (nats) of `targets` (n,) given `states` (n, width), `size` rows at a time.

    `weight` is (vocabulary, width), `bias` (vocabulary,).
    """
    states, weight, bias = _cast(states, weight, bias)
    total: Tensor = _Sum.apply(states, weight, bias, targets, size)  # type: ignore[no-untyped-call]
    return total


def scores(states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, size: int) -> Tensor:
    """(n,) float32: log-probability (nats) of each target given its state; arguments as of `likelihood`."""
    states, weight, bias = _cast(states, weight, bias)
    each: Tensor = _Each.apply(states, weight, bias, targets, size)  # type: ignore[no-untyped-call]
    return each


def _cast(states: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """As autocast would cast them for a linear layer; where no gradient is wanted, without a way back."""
    kind = states.device.type
    if not torch.is_grad_enabled():
        states, weight, bias = states.detach(), weight.detach(), bias if bias is None else bias.detach()
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        return states.to(dtype), weight.to(dtype), bias if bias is None else bias.to(dtype)
    return states, weight, bias


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, size: int) -> Tensor:
        found = _Gradients(ctx.needs_input_grad, states, weight, bias)
        total = states.new_zeros((), dtype=torch.float32)
        for at, z in _logits(states, weight, bias, size):
            total += _scores(z, targets[at]).sum()
            found.add(at, z, targets[at], None)
        ctx.ready = found.finished()
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        ready = _handed_over(ctx)
        return *(None if g is None else g.mul_(upstream[0].to(g.dtype)) for g in ready), None, None


class _Each(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, size: int) -> Tensor:
        needs = ctx.needs_input_grad
        ctx.size, ctx.again = size, needs[1] or needs[2]
        found = _Gradients((needs[0] and not ctx.again, False, False), states, weight, bias)
        each = states.new_empty(len(states), dtype=torch.float32)
        for at, z in _logits(states, weight, bias, size):
            each[at] = _scores(z, targets[at])
            found.add(at, z, targets[at], None)
        ctx.ready = found.finished()
        if ctx.again:
            ctx.save_for_backward(states, weight, bias, targets)
        return each

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.again:
            (unit, *_) = _handed_over(ctx)
            return None if unit is None else unit.mul_(upstream[0].unsqueeze(1).to(unit.dtype)), None, None, None, None
        states, weight, bias, targets = ctx.saved_tensors
        found = _Gradients(ctx.needs_input_grad, states, weight, bias)
        for at, z in _logits(states, weight, bias, ctx.size):
            _exponentials(z)
            found.add(at, z, targets[at], upstream[0][at])
        return *found.finished(), None, None


def _handed_over(ctx: Any) -> tuple[Tensor | None, ...]:
    """The gradients made in the forward pass, kept nowhere else, so that a parameter takes them without a copy."""
    if ctx.ready is None:
        raise RuntimeError("this loss has gone backward before; its gradients are no longer there")
    ready, ctx.ready = ctx.ready, None
    return tuple(ready)


def _logits(states: Tensor, weight: Tensor, bias: Tensor | None, size: int) -> Iterator[tuple[slice, Tensor]]:
    """Each chunk's positions and its float32 logits, which the next chunk overwrites."""
    room = weight.new_empty(min(size, len(states)), len(weight)) if weight.dtype == torch.float32 else None
    with torch.autocast(states.device.type, enabled=False):
        for start in range(0, len(states), size):
            at = slice(start, start + size)
            if room is None:
                yield at, linear(states[at], weight, bias).float()
                continue
            z = torch.mm(states[at], weight.t(), out=room[: len(states[at])])
            yield at, z if bias is None else z.add_(bias)


def _scores(z: Tensor, targets: Tensor) -> Tensor:
    """(n,) log-probabilities of the targets; `z` becomes the softmax of the logits that it was."""
    chosen = z.gather(1, targets.unsqueeze(1)).squeeze(1)
    return chosen - _exponentials(z)


def _exponentials(z: Tensor) -> Tensor:
    """(n,) logsumexp of the logits; `z` becomes their softmax."""
    top = z.amax(1, keepdim=True)
    total = z.sub_(top).exp_().sum(1, keepdim=True)
    z.div_(total)
    return total.log_().add_(top).squeeze(1)


class _Gradients:
    """Gradients of summed log-probabilities with respect to states, weight and bias, where they are needed."""

    def __init__(self, needs: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        self.given = states, weight
        self.states = torch.empty_like(states) if needs[0] else None
        self.weight = torch.zeros_like(weight, dtype=torch.float32) if needs[1] else None
        self.bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and needs[2] else None
        self.dtypes = (states.dtype, weight.dtype, weight.dtype if bias is None else bias.dtype)

    def add(self, at: slice, p: Tensor, targets: Tensor, upstream: Tensor | None) -> None:
        """Take in a chunk. `p` is its softmax, and is overwritten; `upstream` None: 1 for every position."""
        if self.states is None and self.weight is None and self.bias is None:
            return
        states, weight = self.given
        p.scatter_add_(1, targets.unsqueeze(1), torch.full_like(p[:, :1], -1.0))
        p.neg_() if upstream is None else p.mul_(-upstream.unsqueeze(1))
        g = p.to(weight.dtype)
        if self.states is not None:
            torch.mm(g, weight, out=self.states[at])
        if self.weight is not None and weight.dtype == torch.float32:
            self.weight.addmm_(g.t(), states[at])
        elif self.weight is not None:
            self.weight += g.t() @ states[at]
        if self.bias is not None:
            self.bias += p.sum(0)

    def finished(self) -> tuple[Tensor | None, ...]:
        """In the dtypes of what they belong to."""
        found = zip((self.states, self.weight, self.bias), self.dtypes, strict=True)
        return tuple(None if g is None else g.to(dtype) for g, dtype in found)
