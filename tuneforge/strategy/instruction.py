"""Training on the assistant's turns of conversations."""

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
class Instruction(Strategy):
    """Every assistant turn of a conversation carries loss, its stop token included; nothing else does.

    A message of `weight` 0 carries none. Which tokens are the assistant's is proved: by the template's
    generation marks, by TRL's training template, or by rendering the conversation turn by turn.
    """

    name: ClassVar[str] = "instruction"
    record: ClassVar[str] = "messages"
    packable: ClassVar[bool] = True
    evaluators: ClassVar[tuple[str, ...]] = ("exact_match", "perplexity")

    label_smoothing: float = 0.0
    """Share of each label that is spread over the whole vocabulary; training and validation loss are then of that."""

    def check(self, run: Run) -> Iterable[str]:
        """The smoothing is a share."""
        if not 0 <= self.label_smoothing < 1:
            yield f"strategy.label_smoothing={self.label_smoothing} must be at least 0 and below 1"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Tokens of the conversation, labels on assistant turns."""
        from tuneforge.training.objective import encode_each

        return encode_each(rows, self.record, lambda columns: self._encode(columns, tokenizer))

    def _encode(self, columns: list[Mapping[str, Any]], tokenizer: Tokenizer) -> list[Encoded | RenderError]:
        from tuneforge.conversation import conversation
        from tuneforge.training.objective import NO_LOSS, labelled
        from tuneforge.training.text.literal import RenderError
        from tuneforge.training.text.render import render_all

        rendered = render_all([(conversation(c) or [], c.get("tools")) for c in columns], tokenizer)
        found: list[Encoded | RenderError] = []
        for row in rendered:
            if isinstance(row, RenderError):
                found.append(row)
            else:
                found.append(labelled(row.ids, row.mask) if any(row.mask) else RenderError(NO_LOSS))
        return found

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Negative log-likelihood in nats over labelled tokens."""
        from tuneforge.training.objective import likelihood

        return likelihood(model, batch, step, self.label_smoothing)
