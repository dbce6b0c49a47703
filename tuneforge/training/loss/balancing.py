"""What makes up for classes of very different size: weights of the classes, and the focal loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

LEAST = 1e-12
"""What is left of 1 - p where p is 1: its root has an infinite slope at 0."""


def balanced(counts: Sequence[int]) -> Tensor:
    """(classes,) float64 weights n / (classes * rows of the class), as scikit-learn's `compute_class_weight`.

    A class without a row is not counted, and weighs 1.
    """
    n = torch.tensor(counts, dtype=torch.float64)
    return torch.where(n > 0, n.sum() / ((n > 0).sum() * n.clamp(min=1)), 1.0)


def effective_number(counts: Sequence[int], beta: float) -> Tensor:
    """(classes,) float64 weights by the effective number of rows, (1 - beta^n) / (1 - beta): Cui et al. 2019, eq. 2.

    In proportion they are the paper's; their scale is such that a training row weighs 1 on average. `beta` 0 weighs
    all classes alike, towards 1 they become those of `balanced`. A class without a row weighs 1.
    """
    n = torch.tensor(counts, dtype=torch.float64)
    weights = -1 / torch.expm1(n.clamp(min=1) * torch.tensor(beta, dtype=torch.float64).log())
    return torch.where(n > 0, weights * n.sum() / (weights * n).sum(), 1.0)


def weights(counts: Sequence[int], kind: str, beta: float) -> Tensor | None:
    """(classes,) float64 weights of that kind from the rows of each class; None for `none`."""
    if kind == "none":
        return None
    return balanced(counts) if kind == "balanced" else effective_number(counts, beta)


def focal(losses: Tensor, gamma: float) -> Tensor:
    """Cross-entropies (any shape, nats) times (1 - p)^gamma, p being that of the truth: Lin et al. 2017, eq. 4."""
    return losses * (-torch.expm1(-losses)).clamp(min=LEAST) ** gamma if gamma else losses


def one_class(logits: Tensor, target: Tensor, weights: Tensor | None, gamma: float, smoothing: float = 0.0) -> Tensor:
    """(rows,) losses of logits (rows, classes) and class indices (rows,); `weights` (classes,) or None."""
    losses = functional.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
    losses = focal(losses, gamma)
    return losses if weights is None else losses * weights.to(losses)[target]


def each_class(logits: Tensor, target: Tensor, weights: Tensor | None, gamma: float, smoothing: float = 0.0) -> Tensor:
    """(rows,) losses averaged over classes, each decided by itself: logits and 0 or 1 in (rows, classes).

    `weights` (classes, 2): of no and of yes for each class, or None.
    """
    aim = target.to(logits.dtype) * (1 - smoothing) + smoothing / 2
    losses = focal(functional.binary_cross_entropy_with_logits(logits, aim, reduction="none"), gamma)
    if weights is not None:
        losses = losses * torch.where(target > 0, weights[:, 1].to(losses), weights[:, 0].to(losses))
    return losses.mean(1)
