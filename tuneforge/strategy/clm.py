"""Continued pretraining on plain text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.rows import Encoded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run
    from tuneforge.training.text.literal import RenderError


@dataclass(kw_only=True)
class Clm(Strategy):
    """Causal language modelling: every token of a text carries loss, ended by the eos token.

    A text longer than batch.max_length is cut into chunks that overlap by one token, so that every token
    is predicted exactly once.
    """

    name: ClassVar[str] = "clm"
    record: ClassVar[str] = "text"
    packable: ClassVar[bool] = True
    chunked: ClassVar[bool] = True
    evaluators: ClassVar[tuple[str, ...]] = ("perplexity",)

    label_smoothing: float = 0.0
    """Share of each label that is spread over the whole vocabulary; training and validation loss are then of that."""

    def check(self, run: Run) -> Iterable[str]:
        """The smoothing is a share."""
        if not 0 <= self.label_smoothing < 1:
            yield f"strategy.label_smoothing={self.label_smoothing} must be at least 0 and below 1"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Tokens of the text, all of them labelled. Long texts are cut afterwards."""
        from tuneforge.training.objective import encode_each

        return encode_each(rows, self.record, lambda columns: self._encode(columns, tokenizer))

    def _encode(self, columns: list[Mapping[str, Any]], tokenizer: Tokenizer) -> list[Encoded | RenderError]:
        from tuneforge.training.text.literal import RenderError
        from tuneforge.training.text.render import plain

        found = plain([c["text"] for c in columns], tokenizer)
        return [r if isinstance(r, RenderError) else Encoded({"input_ids": r.ids, "labels": r.ids}) for r in found]

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Negative log-likelihood in nats over all tokens."""
        from tuneforge.training.objective import likelihood

        return likelihood(model, batch, step, self.label_smoothing)
