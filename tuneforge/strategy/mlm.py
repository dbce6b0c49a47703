"""Masked language modelling (BERT; Devlin et al. 2018, arXiv:1810.04805)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.rows import Encoded, Loaded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run
    from tuneforge.training.text.literal import RenderError


@dataclass(kw_only=True)
class Mlm(Strategy):
    """Masked language modelling on plain text: the model says which tokens were hidden (arXiv:1810.04805).

    Of each row a share of the tokens is to be predicted, always the nearest number to `probability` and one at
    least: 80 % of them become the mask token, 10 % a random one, 10 % stay. They are drawn anew whenever a row
    is seen in training, and are always the same in validation. A text longer than batch.max_length is cut into
    chunks of nearly equal length, each with the special tokens of the tokenizer around it.
    """

    name: ClassVar[str] = "mlm"
    record: ClassVar[str] = "text"
    head: ClassVar[str] = "masked_lm"
    chunked: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 5e-5
    evaluators: ClassVar[tuple[str, ...]] = ("masked_perplexity",)

    probability: float = 0.15
    """Share of a row's tokens that are to be predicted; special tokens never are."""

    def check(self, run: Run) -> Iterable[str]:
        """A share out of range."""
        if not 0 < self.probability < 1:
            yield f"strategy.probability={self.probability} must be between 0 and 1"

    def fits(self, loaded: Loaded, context: Context) -> Iterable[str]:
        """A tokenizer that has no mask token."""
        if loaded.tokenizer.mask_token_id is None:
            yield "the tokenizer has no mask token; a masked language model, such as a BERT, is needed"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Tokens of the text; those that may be masked are labelled. Long texts are cut afterwards."""
        from tuneforge.training.objective import encode_each

        return encode_each(rows, self.record, lambda columns: self._encode(columns, tokenizer))

    def _encode(self, columns: list[Mapping[str, Any]], tokenizer: Tokenizer) -> list[Encoded | RenderError]:
        from tuneforge.training.objective import labelled
        from tuneforge.training.text.chat import chat
        from tuneforge.training.text.literal import RenderError
        from tuneforge.training.text.render import affixed

        before, after = (float(len(ids)) for ids in chat(tokenizer).affixes)
        special = set(tokenizer.all_special_ids)
        found: list[Encoded | RenderError] = []
        for row in affixed([c["text"] for c in columns], tokenizer):
            if isinstance(row, RenderError):
                found.append(row)
                continue
            mask = [token not in special for token in row.ids]
            if any(mask):
                found.append(labelled(row.ids, mask)._replace(extras={"before": before, "after": after}))
            else:
                found.append(RenderError("no token can be masked"))
        return found

    def chunks(self, encoded: Encoded, limit: int) -> Iterator[Encoded]:
        """Pieces of nearly equal length between the special tokens that begin and end the row."""
        from tuneforge.training.loss.masking import chunks

        return chunks(encoded, limit)

    def loss_items(self, encoded: Encoded) -> int:
        """Tokens of the row that are predicted whenever it is seen."""
        from tuneforge.training.loss.masking import IGNORE, chosen

        labels = encoded.parts["labels"]
        return chosen(len(labels) - list(labels).count(IGNORE), self.probability)

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Cross-entropy in nats, summed over the masked tokens."""
        from tuneforge.training.loss.masking import Mask, hide, log_probs

        tokenizer = step.tokenizer
        mask = Mask(self.probability, int(tokenizer.mask_token_id), len(tokenizer))
        if model.training:
            ids, targets = hide(batch, mask, streams=step.streams(len(batch["input_ids"])))
        else:
            ids, targets = hide(batch, mask, fixed=step.context.seed)
        scores = log_probs(model, ids, batch["attention_mask"], targets)
        return Loss(-scores.sum(), len(scores))
