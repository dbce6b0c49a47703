"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290)."""

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
class Dpo(Strategy):
    """Direct preference optimisation: the chosen answer becomes likelier than the rejected one, against a reference.

    The reference is the model as this run found it.
    """

    name: ClassVar[str] = "dpo"
    record: ClassVar[str] = "preference"
    reference: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 1e-6
    evaluators: ClassVar[tuple[str, ...]] = ("preference_accuracy", "exact_match", "perplexity")

    beta: float = 0.1
    """How closely the model is held to the reference; larger is closer."""
    label_smoothing: float = 0.0
    """Share of pairs assumed to be labelled the wrong way round (conservative DPO); below 0.5."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range."""
        if self.beta <= 0:
            yield f"strategy.beta={self.beta} must be above 0"
        if not 0 <= self.label_smoothing < 0.5:
            yield f"strategy.label_smoothing={self.label_smoothing} must be in [0, 0.5)"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Parts `chosen.*` and `rejected.*`, labelled from where an answer diverges from the prompt."""
        from tuneforge.training.objective import encode_pairs

        return encode_pairs(rows, tokenizer)

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """The sigmoid loss summed over pairs; rewards are logged as sums over pairs."""
        from torch.nn.functional import logsigmoid

        rewards = []
        for side in ("chosen", "rejected"):
            log_probs, _ = step.log_probs(model, batch, side)
            rewards.append(self.beta * (log_probs - step.reference_log_probs(batch, side)))
        chosen, rejected = rewards
        margin = chosen - rejected
        smooth = self.label_smoothing
        losses = -(1 - smooth) * logsigmoid(margin) - smooth * logsigmoid(-margin)
        logs = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": margin,
            "rewards/accuracies": (margin > 0).float(),
        }
        return Loss(losses.sum(), len(losses), {name: value.detach().sum() for name, value in logs.items()})
