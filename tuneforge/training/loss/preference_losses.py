"""Preference losses as pure functions of log-probabilities; every result is one loss per pair, float tensors (pairs,).

Formulas and normalisation are those of TRL 1.16's DPOTrainer and CPOTrainer, whose names they bear.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu, sigmoid


class Sides(NamedTuple):
    """What the losses of a batch are made of; each (pairs,) float32.

    `chosen`, `rejected` are log-ratios of policy to reference in nats, summed over the answer's tokens;
    `chosen_score`, `rejected_score` are the same through the derivative of the f-divergence; `chosen_tokens`,
    `rejected_tokens` count the answers' tokens; `policy_gap`, `reference_gap` are the log-probability of
    the chosen answer minus that of the rejected one, under each model.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_score: Tensor
    rejected_score: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor
    policy_gap: Tensor
    reference_gap: Tensor

    @property
    def delta(self) -> Tensor:
        """Difference of the scores."""
        return self.chosen_score - self.rejected_score

    @property
    def mean_delta(self) -> Tensor:
        """Difference of the scores per token."""
        return self.chosen_score / self.chosen_tokens.clamp(min=1) - self.rejected_score / self.rejected_tokens.clamp(
            min=1
        )


class Settings(NamedTuple):
    """Numbers of the formulas: strength, share of wrong labels, temperature of DiscoPOP."""

    beta: float
    smoothing: float
    tau: float


def smoothed(logits: Tensor, smoothing: float) -> Tensor:
    """-logsigmoid(logits) where a share `smoothing` of the pairs is labelled the wrong way round."""
    return -(1 - smoothing) * logsigmoid(logits) - smoothing * logsigmoid(-logits)


def exo_pair(x: Sides, s: Settings) -> Tensor:
    """EXO-pref for two answers, arXiv:2402.00856, equation 16: reverse KL to the smoothed preference."""
    logits = s.beta * x.delta
    towards = sigmoid(logits) * (logsigmoid(logits) - math.log1p(-s.smoothing))
    return towards + sigmoid(-logits) * (logsigmoid(-logits) - math.log(s.smoothing))


def nca_pair(x: Sides, s: Settings) -> Tensor:
    """Noise contrastive alignment for pairs, arXiv:2402.05369: the chosen reward itself is held up."""
    chosen, rejected = s.beta * x.chosen, s.beta * x.rejected
    return -logsigmoid(chosen) - 0.5 * logsigmoid(-chosen) - 0.5 * logsigmoid(-rejected)


def robust(x: Sides, s: Settings) -> Tensor:
    """Provably robust DPO, arXiv:2403.00409: unbiased when the share `smoothing` of labels is flipped."""
    logits = s.beta * x.delta
    return (-(1 - s.smoothing) * logsigmoid(logits) + s.smoothing * logsigmoid(-logits)) / (1 - 2 * s.smoothing)


def discopop(x: Sides, s: Settings) -> Tensor:
    """DiscoPOP, arXiv:2406.08414, equation 5: logistic and exponential loss mixed by the log-ratio."""
    logits = s.beta * x.delta
    share = sigmoid(logits / s.tau)
    return -logsigmoid(logits) * (1 - share) + torch.exp(-logits) * share


def aot(x: Sides, s: Settings) -> Tensor:
    """Alignment via optimal transport, arXiv:2406.05882: the batch's gaps, sorted, against the reference's, sorted."""
    delta = x.policy_gap.sort().values - x.reference_gap.sort().values
    return smoothed(s.beta * delta, s.smoothing)


def aot_unpaired(x: Sides, s: Settings) -> Tensor:
    """The same without pairs: the batch's chosen log-ratios, sorted, against its rejected ones, sorted."""
    delta = x.chosen.sort().values - x.rejected.sort().values
    return smoothed(s.beta * delta, s.smoothing)


def apo_down(x: Sides, s: Settings) -> Tensor:
    """Anchored preference optimisation, arXiv:2408.06266, equation 8: the chosen answers are worse than the model."""
    return sigmoid(s.beta * x.chosen) + 1 - sigmoid(s.beta * (x.chosen - x.rejected))


PAIR_LOSSES: Mapping[str, Callable[[Sides, Settings], Tensor]] = {
    "sigmoid": lambda x, s: smoothed(s.beta * x.delta, s.smoothing),
    "hinge": lambda x, s: relu(1 - s.beta * x.delta),
    "ipo": lambda x, s: (x.mean_delta - 1 / (2 * s.beta)) ** 2,
    "exo_pair": exo_pair,
    "nca_pair": nca_pair,
    "robust": robust,
    "bco_pair": lambda x, s: -logsigmoid(s.beta * x.chosen) - logsigmoid(-s.beta * x.rejected),
    "sppo_hard": lambda x, s: (x.chosen - 0.5 / s.beta) ** 2 + (x.rejected + 0.5 / s.beta) ** 2,
    "aot": aot,
    "aot_unpaired": aot_unpaired,
    "apo_zero": lambda x, s: 1 - sigmoid(s.beta * x.chosen) + sigmoid(s.beta * x.rejected),
    "apo_down": apo_down,
    "discopop": discopop,
    "sigmoid_norm": lambda x, s: -logsigmoid(s.beta * x.mean_delta),
}
"""Losses against a reference, by TRL's name; TRL's `sft`, which needs none of this, is the strategy's own."""


def score(log_ratio: Tensor, divergence: str, alpha: float) -> Tensor:
    """f'(t) at log t = `log_ratio` for the f-divergence to the reference, arXiv:2309.16240, table 2.

    `alpha` is that of alpha_divergence, whose limit at 1 is reverse_kl. Exponents are capped at 80, where
    float32 ends.
    """
    if divergence == "forward_kl":
        return 1 - torch.exp(-log_ratio)
    if divergence == "js_divergence":
        return math.log(2) + logsigmoid(log_ratio)
    if divergence == "alpha_divergence" and abs(alpha - 1) >= 1e-6:
        return torch.expm1(((alpha - 1) * log_ratio).clamp(max=80)) / (alpha - 1)
    return log_ratio


def reference_free(kind: str, chosen: Tensor, rejected: Tensor, beta: float, gamma: float, smoothing: float) -> Tensor:
    """CPO's losses of two rewards without reference: sigmoid, hinge, ipo, or simpo with its target margin `gamma`."""
    gap = chosen - rejected
    if kind == "hinge":
        return relu(1 - beta * gap)
    if kind == "ipo":
        return (gap - 1 / (2 * beta)) ** 2
    return smoothed(beta * gap - (gamma if kind == "simpo" else 0.0), smoothing)


def alpha_reward(log_prob: Tensor, alpha: float) -> Tensor:
    """AlphaPO's reward (1 - p^-alpha) / alpha, arXiv:2501.03884; the log-probability itself at 0."""
    return log_prob if alpha == 0 else -torch.expm1(-alpha * log_prob) / alpha
