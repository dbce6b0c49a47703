"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) and its published variants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.rows import Encoded, Loaded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run
    from tuneforge.training.loss.preference_losses import Sides

    Both = tuple[Tensor, Tensor]
    Summed = tuple[Both, Both, Both, Tensor]
    """Log-probabilities of chosen and rejected answers, those of the reference, the answers' tokens, and the plain
    log-probabilities of the chosen ones; each (pairs,)."""


class PairLoss(StrEnum):
    """What a pair costs, by TRL's name."""

    sigmoid = "sigmoid"
    hinge = "hinge"
    ipo = "ipo"
    exo_pair = "exo_pair"
    nca_pair = "nca_pair"
    robust = "robust"
    bco_pair = "bco_pair"
    sppo_hard = "sppo_hard"
    aot = "aot"
    aot_unpaired = "aot_unpaired"
    apo_zero = "apo_zero"
    apo_down = "apo_down"
    discopop = "discopop"
    sft = "sft"
    sigmoid_norm = "sigmoid_norm"


class Divergence(StrEnum):
    """How distance to the reference is measured."""

    reverse_kl = "reverse_kl"
    forward_kl = "forward_kl"
    js_divergence = "js_divergence"
    alpha_divergence = "alpha_divergence"


SORTED = (PairLoss.aot, PairLoss.aot_unpaired)
SMOOTHED = (PairLoss.sigmoid, PairLoss.exo_pair, PairLoss.robust, *SORTED)
DIVERGENT = (
    PairLoss.sigmoid, PairLoss.hinge, PairLoss.ipo, PairLoss.exo_pair, PairLoss.robust, PairLoss.discopop,
    PairLoss.sft, PairLoss.sigmoid_norm,
)  # fmt: skip
"""Losses of the reward difference, in which the partition function of an f-divergence cancels."""


SIDES = ("chosen", "rejected")


@dataclass(kw_only=True)
class Dpo(Strategy):
    """Direct preference optimisation: the chosen answer becomes likelier than the rejected one, against a reference.

    The reference is the model as this run found it. `loss` names the variant, with TRL's formulas; `also`
    adds further ones. Three of them couple the pairs of a step: `sft` is a mean over all tokens of the
    optimizer step, counted over all its micro-batches and devices; `aot` and `aot_unpaired` sort the pairs of
    one forward pass, and are refused where a step is cut into several.
    """

    name: ClassVar[str] = "dpo"
    record: ClassVar[str] = "preference"
    reference: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 1e-6
    unit: ClassVar[str] = "pairs"
    evaluators: ClassVar[tuple[str, ...]] = ("preference_accuracy", "exact_match", "perplexity")

    loss_type: PairLoss = PairLoss.sigmoid
    """sigmoid, hinge, ipo, exo_pair, nca_pair, robust, bco_pair, sppo_hard, aot, aot_unpaired, apo_zero, apo_down,
    discopop, sft or sigmoid_norm; docs/preferences.md compares them."""
    also: list[PairLoss] = field(default_factory=list)
    """Further losses that are added, as [bco_pair,sft]."""
    weights: list[float] = field(default_factory=list)
    """A weight for the loss and for each further one, as [0.8,0.2,1]; empty: 1 each."""
    beta: float = 0.1
    """How closely the model is held to the reference; larger is closer (ipo: its tau)."""
    label_smoothing: float = 0.0
    """Share of pairs assumed to be labelled the wrong way round (sigmoid, robust, exo_pair, aot); below 0.5."""
    discopop_tau: float = 0.05
    """Temperature of discopop's mixture."""
    divergence: Divergence = Divergence.reverse_kl
    """reverse_kl, forward_kl, js_divergence or alpha_divergence; all but the first need a loss of the difference."""
    divergence_alpha: float = 0.5
    """Exponent of alpha_divergence; 1 is reverse_kl."""
    ld_alpha: float | None = None
    """Weight of a longer answer's tokens beyond the length of the shorter one (LD-DPO, arXiv:2409.06411); null: 1."""

    def __post_init__(self) -> None:
        if self.ld_alpha is not None:  # its reference is a sum of its own for each pair, asked for at each step
            vars(self)["reference"] = False

    @property
    def losses(self) -> dict[PairLoss, float]:
        """Each loss with its weight."""
        chosen = [self.loss_type, *self.also]
        return dict(zip(chosen, self.weights or [1.0] * len(chosen), strict=True))

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range, losses that do not take what they are given, a step that may not be cut."""
        chosen = [self.loss_type, *self.also]
        if self.beta <= 0:
            yield f"strategy.beta={self.beta} must be above 0"
        if self.ld_alpha is not None and not 0 <= self.ld_alpha <= 1:
            yield f"strategy.ld_alpha={self.ld_alpha} must be between 0 (cut to the shorter answer) and 1 (plain dpo)"
        if self.discopop_tau <= 0:
            yield f"strategy.discopop_tau={self.discopop_tau} must be above 0"
        if len(set(chosen)) < len(chosen):
            yield f"strategy.also names a loss twice: {', '.join(chosen)}"
        if self.weights and len(self.weights) != len(chosen):
            yield f"strategy.weights has {len(self.weights)} numbers for {len(chosen)} losses ({', '.join(chosen)})"
        yield from self._check_smoothing(chosen)
        yield from self._check_divergence(chosen)
        size, whole = run.batch.size, run.batch.global_size
        yield from self._cut(1 if whole is None else whole // max(size, 1))

    def _check_smoothing(self, chosen: Sequence[PairLoss]) -> Iterator[str]:
        if not 0 <= self.label_smoothing < 0.5:
            yield f"strategy.label_smoothing={self.label_smoothing} must be in [0, 0.5)"
        elif self.label_smoothing and not set(chosen) & set(SMOOTHED):
            takers = ", ".join(SMOOTHED)
            yield f"strategy.label_smoothing={self.label_smoothing}: {self.loss_type} takes none ({takers} do)"
        elif PairLoss.exo_pair in chosen and not self.label_smoothing:
            yield "strategy.label_smoothing=0.0: exo_pair needs more than 0; its paper recommends 1e-3"

    def _check_divergence(self, chosen: Sequence[PairLoss]) -> Iterator[str]:
        odd = [name for name in chosen if name not in DIVERGENT]
        if self.divergence != Divergence.reverse_kl and odd:
            yield (
                f"strategy.divergence={self.divergence}: {', '.join(odd)} uses more than the difference of the rewards,"
                f" which is known up to a constant only ({', '.join(DIVERGENT)} take it)"
            )

    @property
    def divisible(self) -> bool:
        """Not where a loss sorts the pairs of a forward pass."""
        return not next(self._cut(2), "")

    def _cut(self, pieces: int) -> Iterator[str]:
        odd = [name for name in (self.loss_type, *self.also) if name in SORTED]
        if odd and pieces > 1:
            yield (
                f"{', '.join(odd)} sorts the pairs of a forward pass, so a step cut into {pieces} of them would be"
                " another loss: let batch.size be the whole step, on one device, without batch.global_size"
            )

    def fits(self, loaded: Loaded, context: Context) -> Iterable[str]:
        """A step that may not be cut, over the devices that are there."""
        from tuneforge.training.optimise import accumulation, device_count

        devices = device_count(context.run)
        return self._cut(accumulation(context.run, devices) * devices)

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Parts `chosen.*` and `rejected.*`, labelled from where an answer diverges from the prompt."""
        from tuneforge.training.objective import encode_pairs

        return encode_pairs(rows, tokenizer)

    def loss_items(self, encoded: Encoded) -> int:
        """One pair."""
        return 1

    def begin(self, rows: Sequence[Encoded], step: Step) -> None:
        """Keep the reference, where its log-probabilities cannot be known before."""
        if self.ld_alpha is not None:
            step.keep_reference()

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """The losses summed over pairs; rewards are logged as sums over pairs."""
        from tuneforge.training.loss.preference_losses import PAIR_LOSSES, Settings
        from tuneforge.training.objective import reward_logs, token_mean

        sides, chosen_log_probs = self._sides(model, batch, step)
        settings = Settings(self.beta, self.label_smoothing, self.discopop_tau)
        total = sides.chosen.new_zeros(())
        for name, weight in self.losses.items():
            if name == PairLoss.sft:
                total = total - weight * token_mean(chosen_log_probs, batch, "chosen", step)
            else:
                total = total + weight * PAIR_LOSSES[name](sides, settings).sum()
        return Loss(total, len(sides.chosen), reward_logs(self.beta * sides.chosen, self.beta * sides.rejected))

    def _sides(self, model: Module, batch: Batch, step: Step) -> tuple[Sides, Tensor]:
        """What the losses are made of, and the policy's log-probabilities of the chosen answers."""
        from tuneforge.training.loss.preference_losses import Sides, score

        summed = self._summed if self.ld_alpha is None else self._desensitised
        policy, before, (chosen_tokens, rejected_tokens), said = summed(model, batch, step)
        (chosen, rejected), (chosen_before, rejected_before) = policy, before
        ratios = chosen - chosen_before, rejected - rejected_before
        sides = Sides(
            chosen=ratios[0],
            rejected=ratios[1],
            chosen_score=score(ratios[0], self.divergence, self.divergence_alpha),
            rejected_score=score(ratios[1], self.divergence, self.divergence_alpha),
            chosen_tokens=chosen_tokens,
            rejected_tokens=rejected_tokens,
            policy_gap=chosen - rejected,
            reference_gap=chosen_before - rejected_before,
        )
        return sides, said

    def _summed(self, model: Module, batch: Batch, step: Step) -> Summed:
        (chosen, chosen_tokens), (rejected, rejected_tokens) = (step.log_probs(model, batch, side) for side in SIDES)
        chosen_before, rejected_before = (step.reference_log_probs(batch, side) for side in SIDES)
        return (chosen, rejected), (chosen_before, rejected_before), (chosen_tokens, rejected_tokens), chosen

    def _desensitised(self, model: Module, batch: Batch, step: Step) -> Summed:
        """Tokens beyond the shorter answer's length count `ld_alpha`."""
        (chosen, here), (rejected, there) = (step.token_log_probs(model, batch, side) for side in SIDES)
        before = [step.reference_token_log_probs(batch, side) for side in SIDES]
        tokens = here.sum(1), there.sum(1)
        weights = []
        for keep in (here, there):
            shared = keep.cumsum(1) <= tokens[0].minimum(tokens[1]).unsqueeze(1)
            weights.append(shared + (self.ld_alpha or 0.0) * ~shared)
        policy, reference = (
            ((one * weights[0]).sum(1), (other * weights[1]).sum(1)) for one, other in ((chosen, rejected), before)
        )
        return policy, reference, tokens, chosen.sum(1)
