"""Simple preference optimisation (Meng et al. 2024, arXiv:2405.14734)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.rows import Encoded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Simpo(Strategy):
    """Simple preference optimisation: the chosen answer is likelier per token, by a margin; there is no reference.

    The reward of an answer is beta times its mean log-probability per token (equation 4 of the paper).
    """

    name: ClassVar[str] = "simpo"
    record: ClassVar[str] = "preference"
    learning_rate: ClassVar[float] = 1e-6
    unit: ClassVar[str] = "pairs"
    evaluators: ClassVar[tuple[str, ...]] = ("preference_accuracy", "exact_match", "perplexity")

    beta: float = 2.0
    """Scale of the rewards."""
    gamma: float = 1.0
    """Margin by which the chosen reward is to exceed the rejected one; the paper takes 0.3 to 1.6 times beta."""
    label_smoothing: float = 0.0
    """Share of pairs assumed to be labelled the wrong way round; below 0.5."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range."""
        if self.beta <= 0:
            yield f"strategy.beta={self.beta} must be above 0"
        if self.gamma < 0:
            yield f"strategy.gamma={self.gamma} must be 0 or more"
        if not 0 <= self.label_smoothing < 0.5:
            yield f"strategy.label_smoothing={self.label_smoothing} must be in [0, 0.5)"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Parts `chosen.*` and `rejected.*`, labelled from where an answer diverges from the prompt."""
        from tuneforge.training.objective import encode_pairs

        return encode_pairs(rows, tokenizer)

    def loss_items(self, encoded: Encoded) -> int:
        """One pair."""
        return 1

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Equation 6 of the paper summed over pairs; rewards are logged as sums over pairs."""
        from tuneforge.training.loss.preference_losses import reference_free
        from tuneforge.training.objective import reward_logs

        scored = [step.log_probs(model, batch, side) for side in ("chosen", "rejected")]
        chosen, rejected = (log_probs / counts for log_probs, counts in scored)
        losses = reference_free("simpo", chosen, rejected, self.beta, self.gamma, self.label_smoothing)
        return Loss(losses.sum(), len(losses), reward_logs(self.beta * chosen, self.beta * rejected))
