"""Group-relative policy optimisation in tensors: rewards, advantages, the clipped surrogate and its sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from tuneforge.errors import TuneForgeError

if TYPE_CHECKING:
    from torch import Tensor

    from tuneforge.components import Context, Evaluator
    from tuneforge.rows import Answer, Row

EPSILON = 1e-4
"""Added to a standard deviation before dividing by it, as in TRL."""


def rewards(judges: dict[str, Evaluator], rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Tensor:
    """(answers, judges) float64: each evaluator's first metric of each answer alone, negated where lower is better.

    Raises TuneForgeError for an evaluator that gives no number.
    """
    columns = [_values(name, judge, rows, answers, context) for name, judge in judges.items()]
    return torch.tensor(columns, dtype=torch.float64).T


def _values(
    name: str, judge: Evaluator, rows: Sequence[Row], answers: Sequence[Answer], context: Context
) -> list[float]:
    metric, found = judge.metrics[0], []
    for row, stats in zip(rows, judge.judge(rows, answers, context), strict=True):
        # What is no mean over rows (a ratio of sums, say) is formed from the one row.
        one = stats if metric.name in stats else judge.aggregate({k: np.array([v]) for k, v in stats.items()})
        value = float(one[metric.name])
        if not math.isfinite(value):
            raise TuneForgeError(f"reward {name} is {value} for an answer to {row.place}; a reward must be a number")
        found.append(value if metric.higher_is_better else -value)
    return found


def advantages(rewards: Tensor, leave_one_out: bool, scale: str) -> Tensor:
    """(groups, n) of rewards (groups, n): less the group's mean, or the mean of the others (leave-one-out).

    `scale` divides by the standard deviation (n - 1) of the `group`, of the `batch`, or of nothing (`none`).
    """
    n = rewards.shape[1]
    centred = rewards - rewards.mean(1, keepdim=True)
    if leave_one_out:  # r - mean of the others = (r - mean) n / (n - 1)
        centred = centred * (n / (n - 1))
    if scale == "none":
        return centred
    spread = rewards.std(1, keepdim=True) if scale == "group" else rewards.std()
    return centred / (spread + EPSILON)


class Clip(NamedTuple):
    """The ratio of new to old probability counts from 1 - low to 1 + high."""

    low: float
    high: float


def surrogate(log_probs: Tensor, old: Tensor, advantages: Tensor, clip: Clip) -> Tensor:
    """(rows, length) loss per token: -min(r A, clamp(r) A) with r = exp(log_probs - old); advantages (rows,)."""
    ratio, weight = (log_probs - old).exp(), advantages.unsqueeze(1).to(log_probs)
    return -torch.minimum(ratio * weight, ratio.clamp(1 - clip.low, 1 + clip.high) * weight)


def divergence(log_probs: Tensor, reference: Tensor, old: Tensor) -> Tensor:
    """Per token, an estimate of KL(model, reference) that is never negative: exp(d) - d - 1 with d the log-ratio.

    Weighted by exp(log_probs - old), which makes its gradient that of the divergence too (arXiv:2512.02556).
    """
    apart = reference - log_probs
    return (apart.exp() - apart - 1) * (log_probs - old).exp()


def summed(per_token: Tensor, keep: Tensor, kind: str, max_tokens: int) -> tuple[Tensor, Tensor]:
    """(total, items) of a loss (rows, length) over the tokens in `keep`.

    grpo: means over each completion, items are completions; dr_grpo: sums divided by max_tokens, items are
    completions; dapo: items are tokens; bnpo: one mean over the tokens at hand, which are one item.
    """
    kept = per_token * keep
    rows, tokens = torch.tensor(len(keep), device=keep.device), keep.sum()
    if kind == "grpo":
        return (kept.sum(1) / keep.sum(1).clamp(min=1)).sum(), rows
    if kind == "dr_grpo":
        return kept.sum() / max_tokens, rows
    if kind == "dapo":
        return kept.sum(), tokens
    return kept.sum() / tokens.clamp(min=1), torch.ones_like(rows)


def mean(values: Tensor) -> Tensor:
    """Sum and count of all values, float64 (2,), as a log that has its own count."""
    return over(values.sum(), values.new_tensor(values.numel(), dtype=torch.float64))


def over(total: Tensor, count: Tensor) -> Tensor:
    """Sum and count, float64 (2,)."""
    return torch.stack([total.double(), count.double()])
