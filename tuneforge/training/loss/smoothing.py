"""Label smoothing where logits never exist all at once.

With a share s of the target's weight spread over the whole vocabulary (Szegedy et al. 2015, arXiv:1512.00567), the
log-probability of target t becomes (1 - s) log p_t + s mean(log p) = log p_t - s (z_t - mean(z)): what is missing
of the plain one is s times the margin z_t - mean(z), which a linear head h W^T + b gives as h (W_t - mean(W)).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Linear, Module
from torch.utils.checkpoint import checkpoint


def margins(head: Module, plain: Linear | None, states: Tensor, targets: Tensor, size: int) -> Tensor:
    """() float32: the logit of each target (n,) minus the mean of its position's logits, summed.

    `plain` is the head where it is linear; another head is applied `size` positions at a time, and once more in
    the backward pass.
    """
    if plain is not None:
        towards = plain.weight[targets].float() - plain.weight.float().mean(0)
        total = (states.float() * towards).sum()
        return total if plain.bias is None else total + (plain.bias[targets].float() - plain.bias.float().mean()).sum()
    pieces = zip(torch.split(states, size), torch.split(targets, size), strict=True)
    if torch.is_grad_enabled():
        return torch.stack([checkpoint(_margins, head, s, t, use_reentrant=False) for s, t in pieces]).sum()
    return torch.stack([_margins(head, s, t) for s, t in pieces]).sum()


def _margins(head: Module, states: Tensor, targets: Tensor) -> Tensor:
    z: Tensor = head(states).float()
    total: Tensor = z.gather(1, targets.unsqueeze(1)).sum() - z.mean(1).sum()
    return total
