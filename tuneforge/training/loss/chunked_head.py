"""Log-probabilities of targets under any head, a chunk of positions at a time.

For heads that are no plain linear layer: adapted by LoRA, quantised, scaled. The head's own forward is called on
each chunk, so its result is exact whatever the head does. `linear_cross_entropy` is faster where it applies.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy


def scores(head: Module, states: Tensor, targets: Tensor, size: int) -> Tensor:
    """(n,) float32: log-probability (nats) of each target (n,) given its state (n, width), `size` rows at a time.

    Where nothing of the head trains, gradients are made in the forward pass; else each chunk is computed again in
    the backward pass, with the random numbers (dropout) and the precision (autocast) of the first time.
    """
    if not torch.is_grad_enabled():
        pieces = zip(torch.split(states, size), torch.split(targets, size), strict=True)
        return torch.cat([whole(head, s, t) for s, t in pieces])
    parameters = [p for p in head.parameters() if p.requires_grad]
    each: Tensor = _Each.apply(head, size, targets, states, *parameters)  # type: ignore[no-untyped-call]
    return each


def whole(head: Module, states: Tensor, targets: Tensor) -> Tensor:
    """The same in one piece, by torch's own functions."""
    return -cross_entropy(head(states).float(), targets, reduction="none")


class _Each(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, head: Module, size: int, targets: Tensor, states: Tensor, *parameters: Tensor) -> Tensor:
        ctx.head, ctx.size, ctx.unit = head, size, None
        each = states.new_empty(len(states), dtype=torch.float32)
        if parameters:
            ctx.again = _Surroundings(states.device)
            ctx.save_for_backward(targets, states, *parameters)
        elif ctx.needs_input_grad[3]:
            ctx.unit = torch.empty_like(states)
        for start in range(0, len(states), size):
            at = slice(start, start + size)
            if ctx.unit is None:
                each[at] = whole(head, states[at], targets[at])
                continue
            leaf = states[at].detach().requires_grad_()
            with torch.enable_grad():
                found = whole(head, leaf, targets[at])
            each[at] = found.detach()
            (ctx.unit[at],) = torch.autograd.grad(found, leaf, torch.ones_like(found))
        return each

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.unit is not None:
            return None, None, None, ctx.unit * upstream[0].unsqueeze(1).to(ctx.unit.dtype)
        targets, states, *parameters = ctx.saved_tensors
        towards = torch.empty_like(states)
        sums = [torch.zeros_like(p) for p in parameters]
        with ctx.again.restored():
            for start in range(0, len(states), ctx.size):
                at = slice(start, start + ctx.size)
                leaf = states[at].detach().requires_grad_()
                with torch.enable_grad():
                    found = whole(ctx.head, leaf, targets[at])
                towards[at], *others = torch.autograd.grad(found, [leaf, *parameters], upstream[0][at])
                torch._foreach_add_(sums, others)
        return None, None, None, towards, *sums


class _Surroundings:
    """Random state and autocast of a moment."""

    def __init__(self, device: torch.device) -> None:
        self.kind, self.devices = device.type, [] if device.type == "cpu" else [device]
        self.autocast = torch.is_autocast_enabled(self.kind), torch.get_autocast_dtype(self.kind)
        self.random = torch.get_rng_state()
        self.on_devices = [torch.cuda.get_rng_state(d) for d in self.devices]

    def restored(self) -> ExitStack:
        """A context in which both are as they were then; afterwards random states are as before."""
        stack = ExitStack()
        stack.enter_context(torch.random.fork_rng(self.devices))
        stack.enter_context(torch.autocast(self.kind, self.autocast[1], self.autocast[0], cache_enabled=False))
        torch.set_rng_state(self.random)
        for device, state in zip(self.devices, self.on_devices, strict=True):
            torch.cuda.set_rng_state(state, device)
        return stack
