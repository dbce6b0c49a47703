"""Supervised fine-tuning on prompts with completions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.rows import Encoded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run
    from tuneforge.training.text.literal import RenderError


class LossOn(StrEnum):
    """Which tokens carry loss."""

    completion = "completion"
    all = "all"


@dataclass(kw_only=True)
class Sft(Strategy):
    """Supervised fine-tuning: the completion given the prompt, in the model's chat template.

    Of `messages`, the completion is the last assistant turn; `strategy=instruction` trains all turns.
    Without a chat template, prompt and completion are joined as texts and ended by the eos token.
    """

    name: ClassVar[str] = "sft"
    record: ClassVar[str] = "completion"
    packable: ClassVar[bool] = True
    evaluators: ClassVar[tuple[str, ...]] = ("exact_match", "perplexity")

    loss_on: LossOn = LossOn.completion
    """completion: only the answer's tokens carry loss; all: every token of the row does."""

    label_smoothing: float = 0.0
    """Share of each label that is spread over the whole vocabulary; training and validation loss are then of that."""

    def check(self, run: Run) -> Iterable[str]:
        """The smoothing is a share."""
        if not 0 <= self.label_smoothing < 1:
            yield f"strategy.label_smoothing={self.label_smoothing} must be at least 0 and below 1"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Tokens of prompt and completion; labels from where they diverge from the prompt's own tokens."""
        from tuneforge.training.objective import encode_each

        return encode_each(rows, self.record, lambda columns: self._encode(columns, tokenizer))

    def _encode(self, columns: list[Mapping[str, Any]], tokenizer: Tokenizer) -> list[Encoded | RenderError]:
        from tuneforge.training.batches.collate import IGNORE
        from tuneforge.training.text.literal import RenderError
        from tuneforge.training.text.render import answers

        found: list[Encoded | RenderError] = []
        for row in answers(columns, tokenizer, "completion"):
            if isinstance(row, RenderError):
                found.append(row)
                continue
            start = row.cut if self.loss_on is LossOn.completion else 0
            found.append(Encoded({"input_ids": row.ids, "labels": [IGNORE] * start + row.ids[start:]}))
        return found

    def trained_texts(self, columns: Mapping[str, Any], part: str = "") -> Sequence[str] | None:
        """The completion; None where every token carries loss."""
        return super().trained_texts(columns, part) if self.loss_on is LossOn.completion else None

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Negative log-likelihood in nats over labelled tokens."""
        from tuneforge.training.objective import likelihood

        return likelihood(model, batch, step, self.label_smoothing)
