"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.rows import Encoded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run
    from tuneforge.training.text.literal import RenderError
    from tuneforge.training.text.render import Answered

BALANCED = 4 / 3
"""Weight of desirable over undesirable rows, or its inverse, up to which the paper found no harm."""


class KtoLoss(StrEnum):
    """What a row costs, by TRL's name."""

    kto = "kto"
    apo_zero_unpaired = "apo_zero_unpaired"


@dataclass(kw_only=True)
class Kto(Strategy):
    """Kahneman-Tversky optimisation: answers marked good or bad, one at a time, against a reference.

    Rows are `prompt`, `completion` and a true or false `label`; a preference pair becomes two of them. Rewards
    are compared with the mean over the optimizer step, all its micro-batches and devices, of how much
    likelier than the reference the policy finds answers to other prompts (the paper's KL term; TRL takes
    the mean over each micro-batch). For that each row carries the nearest answer before it in the data that
    belongs to another prompt and fits within batch.max_length.
    """

    name: ClassVar[str] = "kto"
    record: ClassVar[str] = "unpaired"
    reference: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 1e-6
    unit: ClassVar[str] = "rows"
    evaluators: ClassVar[tuple[str, ...]] = ("preference_accuracy", "exact_match", "perplexity")

    loss_type: KtoLoss = KtoLoss.kto
    """kto, or apo_zero_unpaired (arXiv:2408.06266), which compares with 0 instead of the KL term."""
    beta: float = 0.1
    """How closely the model is held to the reference; larger is closer."""
    desirable_weight: float = 1.0
    """Weight of rows whose label is true."""
    undesirable_weight: float = 1.0
    """Weight of rows whose label is false."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range."""
        if self.beta <= 0:
            yield f"strategy.beta={self.beta} must be above 0"
        for name in ("desirable_weight", "undesirable_weight"):
            if getattr(self, name) < 0:
                yield f"strategy.{name}={getattr(self, name)} must be 0 or more"

    def examples(self, rows: Sequence[Row], context: Context) -> Sequence[Row]:
        """Each pair as two rows; how many, and an imbalance, are said."""
        found = [single for row in rows for single in _singles(row)]
        if len(found) > len(rows):
            pairs = len(found) - len(rows)
            context.note(f"{pairs:,} preference pairs became {2 * pairs:,} rows with a label", pairs=pairs)
        self._say_balance(found, context)
        return found

    def _say_balance(self, rows: Sequence[Row], context: Context) -> None:
        good = sum(row.columns.get("label") is True for row in rows)
        bad = len(rows) - good
        mine, theirs = self.desirable_weight * good, self.undesirable_weight * bad
        if rows and not BALANCED >= mine / max(theirs, 1e-9) >= 1 / BALANCED:
            factor = max(good, bad) / max(min(good, bad), 1)
            which = "undesirable_weight" if good > bad else "desirable_weight"
            context.note(
                f"warning: {good:,} desirable and {bad:,} undesirable rows weigh {mine:,.0f} to {theirs:,.0f};"
                f" strategy.{which}={factor:.3g} evens them out",
                desirable=good, undesirable=bad,
            )  # fmt: skip

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Tokens and labels of the answer; the same of the mismatched one as part `kl`; `desirable` in the extras."""
        from tuneforge.training.objective import encode_each
        from tuneforge.training.text.encode import max_length

        limit = max_length(context.run, context.run.model.config()) if self.loss_type == KtoLoss.kto else 0
        return encode_each(rows, self.record, lambda columns: self._encode(columns, tokenizer, limit))

    def _encode(
        self, columns: list[Mapping[str, Any]], tokenizer: Tokenizer, limit: int
    ) -> list[Encoded | RenderError]:
        from tuneforge.training.objective import answered
        from tuneforge.training.text.literal import RenderError
        from tuneforge.training.text.render import answers

        rows = answers(columns, tokenizer, "completion")
        found: list[Encoded | RenderError] = []
        for at, (row, source) in enumerate(zip(rows, columns, strict=True)):
            if isinstance(row, RenderError):
                found.append(row)
                continue
            parts = answered(row.ids, row.cut)
            if limit:
                other = _other(rows, columns, at, limit - row.cut)
                parts |= answered(row.ids[: row.cut] + other, row.cut, "kl.")
            found.append(Encoded(parts, {"desirable": float(source["label"])}))
        return found

    def trained_texts(self, columns: Mapping[str, Any], part: str = "") -> Sequence[str] | None:
        """The answer; None for the mismatched one, which trains nothing."""
        from tuneforge.conversation import trained_texts

        return None if part else trained_texts(columns, "completion")

    def loss_items(self, encoded: Encoded) -> int:
        """One row."""
        return 1

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Equation 7 of the paper summed over rows; rewards are logged over the rows of each kind."""
        import torch

        log_probs, _ = step.log_probs(model, batch)
        ratio = log_probs - step.reference_log_probs(batch)
        base = self._kl(model, batch, step)
        good = batch["desirable"] > 0.5
        value = torch.sigmoid(self.beta * torch.where(good, ratio - base, base - ratio))
        weight = torch.where(good, self.desirable_weight, self.undesirable_weight)
        rewards = self.beta * ratio.detach()
        logs = {"kl": base * len(good)}
        for name, mask in (("chosen", good), ("rejected", ~good)):
            logs[f"rewards/{name}"] = torch.stack([rewards[mask].sum(), mask.sum().to(rewards.dtype)])
        return Loss((weight * (1 - value)).sum(), len(good), logs)

    def _kl(self, model: Module, batch: Batch, step: Step) -> Tensor:
        """() mean log-ratio in nats of mismatched answers over the optimizer step, at least 0; no gradient."""
        import torch

        from tuneforge.training.mode import evaluating

        if self.loss_type != KtoLoss.kto:
            return batch["desirable"].new_zeros(())

        def gap(batch: Batch) -> Tensor:
            with evaluating(model):
                ratio = step.log_probs(model, batch, "kl")[0] - step.reference_log_probs(batch, "kl")
            return torch.stack([ratio.sum(), torch.ones_like(ratio).sum()])

        total, rows = step.over_step(batch, "kl", gap)
        mean: Tensor = (total / rows.clamp(min=1)).clamp(min=0)
        return mean


def _singles(row: Row) -> list[Row]:
    """A row with a label as it is, a preference pair as two."""
    if row.columns.get("chosen") is None or row.columns.get("rejected") is None:
        return [row]
    prompt = row.columns.get("prompt")
    sides = (("chosen", True), ("rejected", False))
    return [
        replace(row, columns={"prompt": prompt, "completion": row.columns[side], "label": label})
        for side, label in sides
    ]


def _other(
    rows: Sequence[Answered | RenderError], columns: Sequence[Mapping[str, Any]], at: int, room: int
) -> list[int]:
    """Tokens of the nearest answer before, around the end, that is to another prompt and fits; else of its own."""
    from tuneforge.training.text.literal import RenderError

    for n in range(1, len(rows)):
        other = rows[at - n]
        if isinstance(other, RenderError) or len(other.ids) - other.cut > room:
            continue
        if columns[at - n]["prompt"] != columns[at]["prompt"]:
            return other.ids[other.cut :]
    own = rows[at]
    return [] if isinstance(own, RenderError) else own.ids[own.cut :]
