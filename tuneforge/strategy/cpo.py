"""Contrastive preference optimisation (Xu et al. 2024, arXiv:2401.08417)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.rows import Encoded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run


class CpoLoss(StrEnum):
    """What a pair costs, by TRL's name."""

    sigmoid = "sigmoid"
    hinge = "hinge"
    ipo = "ipo"
    simpo = "simpo"


@dataclass(kw_only=True)
class Cpo(Strategy):
    """Contrastive preference optimisation: DPO without its reference, and the likelihood of the chosen answer.

    The likelihood is a mean over all tokens of the optimizer step, counted over all its micro-batches and
    devices (TRL means over each micro-batch alone). ipo and simpo compare log-probabilities per token,
    sigmoid and hinge their sums.
    """

    name: ClassVar[str] = "cpo"
    record: ClassVar[str] = "preference"
    learning_rate: ClassVar[float] = 1e-6
    unit: ClassVar[str] = "pairs"
    evaluators: ClassVar[tuple[str, ...]] = ("preference_accuracy", "exact_match", "perplexity")

    loss_type: CpoLoss = CpoLoss.sigmoid
    """sigmoid, hinge, ipo or simpo."""
    beta: float = 0.1
    """Scale of the rewards (ipo: its tau)."""
    nll_weight: float = 1.0
    """Weight of the chosen answer's negative log-likelihood per token; 0: none (TRL: cpo_alpha)."""
    gamma: float = 0.5
    """Target margin of simpo."""
    alpha: float = 0.0
    """Shape of the rewards as in AlphaPO (arXiv:2501.03884): (1 - p^-alpha) / alpha; 0: log-probabilities."""
    label_smoothing: float = 0.0
    """Share of pairs assumed to be labelled the wrong way round (sigmoid, simpo); below 0.5."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range, and smoothing of a loss that takes none."""
        if self.beta <= 0:
            yield f"strategy.beta={self.beta} must be above 0"
        if self.nll_weight < 0:
            yield f"strategy.nll_weight={self.nll_weight} must be 0 or more"
        if not 0 <= self.label_smoothing < 0.5:
            yield f"strategy.label_smoothing={self.label_smoothing} must be in [0, 0.5)"
        elif self.label_smoothing and self.loss_type not in (CpoLoss.sigmoid, CpoLoss.simpo):
            yield f"strategy.label_smoothing={self.label_smoothing}: {self.loss_type} takes none (sigmoid, simpo do)"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Parts `chosen.*` and `rejected.*`, labelled from where an answer diverges from the prompt."""
        from tuneforge.training.objective import encode_pairs

        return encode_pairs(rows, tokenizer)

    def loss_items(self, encoded: Encoded) -> int:
        """One pair."""
        return 1

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Equation 6 of the paper summed over pairs; rewards are logged as sums over pairs."""
        from tuneforge.training.loss.preference_losses import alpha_reward, reference_free
        from tuneforge.training.objective import reward_logs, token_mean

        scored = [step.log_probs(model, batch, side) for side in ("chosen", "rejected")]
        mean = self.loss_type in (CpoLoss.ipo, CpoLoss.simpo)
        chosen, rejected = (alpha_reward(s / n if mean else s, self.alpha) for s, n in scored)
        losses = reference_free(self.loss_type, chosen, rejected, self.beta, self.gamma, self.label_smoothing)
        total, logs = losses.sum(), reward_logs(self.beta * chosen, self.beta * rejected)
        if self.nll_weight:
            nll = -token_mean(scored[0][0], batch, "chosen", step)
            total, logs = total + self.nll_weight * nll, logs | {"nll": nll.detach()}
        return Loss(total, len(chosen), logs)
