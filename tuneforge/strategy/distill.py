"""Distillation from a larger model's probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Step
from tuneforge.rows import Encoded, Loss
from tuneforge.strategy.sft import Sft

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.rows import Batch
    from tuneforge.settings import Run


class Divergence(StrEnum):
    """How far the model's probabilities are from the teacher's."""

    forward_kl = "forward_kl"
    reverse_kl = "reverse_kl"
    jsd = "jsd"


@dataclass(kw_only=True)
class Distill(Sft):
    """Distillation: at each labelled token the model takes on the teacher's probabilities of the whole vocabulary.

    With the temperature and its square of arXiv:1503.02531 and the generalised Jensen-Shannon divergence of
    arXiv:2306.13649. Rows are those of `strategy=sft`. The teacher is held in memory beside the model, in
    eval mode and without gradients, and must share its vocabulary.
    """

    name: ClassVar[str] = "distill"
    evaluators: ClassVar[tuple[str, ...]] = ("exact_match", "perplexity")

    teacher: str = ""
    """The larger model: a folder, a run, a hub name or the name of an installed model."""
    divergence: Divergence = Divergence.forward_kl
    """forward_kl (covers all that the teacher says), reverse_kl (keeps to its likeliest words) or jsd (between)."""
    beta: float = 0.5
    """For jsd: the teacher's weight in the mixture, between 0 (forward_kl in the limit) and 1 (reverse_kl)."""
    temperature: float = 1.0
    """Logits of both are divided by it, and the divergence multiplied by its square; larger looks at rarer words."""
    hard_weight: float = 0.0
    """Share of the loss that is the ordinary cross-entropy with the row's own tokens; 0: the teacher alone."""

    def check(self, run: Run) -> Iterable[str]:
        """No teacher, fields out of range, and fields that nothing would look at."""
        yield from super().check(run)
        if not self.teacher:
            yield "strategy.teacher is empty: name the larger model (a folder, a run, a hub name or an installed model)"
        if self.divergence is Divergence.jsd and not 0 < self.beta < 1:
            yield f"strategy.beta={self.beta} must be between 0 and 1; its ends are forward_kl and reverse_kl"
        if self.divergence is not Divergence.jsd and self.beta != type(self).beta:
            yield f"strategy.beta={self.beta} has no meaning for divergence={self.divergence}; set divergence=jsd"
        if self.label_smoothing and not self.hard_weight:
            yield f"strategy.label_smoothing={self.label_smoothing} has no meaning for hard_weight=0: no label is used"
        if self.temperature <= 0:
            yield f"strategy.temperature={self.temperature} must be above 0"
        if not 0 <= self.hard_weight < 1:
            yield f"strategy.hard_weight={self.hard_weight} must be in [0, 1); 1 would be strategy=sft"

    def begin(self, rows: Sequence[Encoded], step: Step) -> None:
        """ConfigError for a teacher of another vocabulary or too short a context, or one that packing would mislead."""
        from tuneforge.training.loss.distillation import refuse_teacher

        longest = max(len(row.parts["input_ids"]) for row in rows)
        refuse_teacher(step.frozen(self.teacher), self.teacher, longest, step)

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """The divergence in nats, mixed with the cross-entropy by `hard_weight`, summed over labelled tokens."""
        from tuneforge.training.loss.distillation import Measure, compare

        smoothing = self.label_smoothing if self.hard_weight else None
        measure = Measure(_weight(self.divergence, self.beta), self.temperature, smoothing)
        apart, hard, items = compare(model, step.frozen(self.teacher).model, batch, step, measure)
        total = (1 - self.hard_weight) * apart
        logs = {"divergence": apart.detach()}
        if self.hard_weight:
            total = total + self.hard_weight * hard
            logs["cross_entropy"] = hard.detach()
        return Loss(total, items, logs)


def _weight(divergence: Divergence, beta: float) -> float:
    """The teacher's weight in the mixture: 0 and 1 are the two Kullback-Leibler divergences."""
    return {Divergence.forward_kl: 0.0, Divergence.reverse_kl: 1.0, Divergence.jsd: beta}[divergence]
