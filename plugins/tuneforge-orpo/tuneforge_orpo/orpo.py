"""Odds ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.rows import Encoded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge import Run
    from tuneforge.rows import Batch


@dataclass(kw_only=True)
class Orpo(Strategy):
    """Odds ratio preference optimisation: likelihood of the chosen answer and its odds over the rejected one.

    One pass over preference pairs, without a reference model.
    """

    name: ClassVar[str] = "orpo"
    record: ClassVar[str] = "preference"
    learning_rate: ClassVar[float] = 8e-6
    evaluators: ClassVar[tuple[str, ...]] = ("preference_accuracy", "exact_match", "perplexity")

    odds_weight: float = 0.1
    """Weight of the odds ratio beside the likelihood; the paper's lambda."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range."""
        if self.odds_weight < 0:
            yield f"strategy.odds_weight={self.odds_weight} must be 0 or more"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Parts `chosen.*` and `rejected.*`, labelled at the answers' tokens."""
        from tuneforge.training.objective import encode_pairs

        return encode_pairs(rows, tokenizer)

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Equation 6 of the paper, in nats, summed over pairs."""
        from torch.nn.functional import logsigmoid

        chosen, rejected = (_mean(*step.log_probs(model, batch, side)) for side in ("chosen", "rejected"))
        ratio = _log_odds(chosen) - _log_odds(rejected)
        losses = -chosen - self.odds_weight * logsigmoid(ratio)
        logs = {"nll": -chosen, "odds/log_ratio": ratio, "odds/accuracies": (ratio > 0).float()}
        return Loss(losses.sum(), len(losses), {name: value.detach().sum() for name, value in logs.items()})


def _mean(log_probs: Tensor, counts: Tensor) -> Tensor:
    return log_probs / counts


def _log_odds(log_p: Tensor) -> Tensor:
    """log(p / (1 - p)); p is kept off 1, where float32 would make it infinite."""
    log_p = log_p.clamp(max=-1e-6)
    return log_p - (-log_p.expm1()).log()
