"""A tag for each word, as in named entity recognition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.conversation import offers
from tuneforge.rows import Encoded, Loaded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run


class ClassWeights(StrEnum):
    """How tokens of rare tags weigh more."""

    none = "none"
    balanced = "balanced"
    effective_number = "effective_number"


class Read(StrEnum):
    """Which token of a word stands for it."""

    first = "first"
    last = "last"


@dataclass(kw_only=True)
class TokenClassification(Strategy):
    """Each word gets a tag: `B-` begins an entity, `I-` continues it, `O` is outside; other tags are taken as they are.

    A word's tag stands at its first token, and is read from there; in a causal model, whose first token has not seen
    the others, better at its last. The words are joined by spaces and tokenised as any text, so that any fast
    tokenizer will do. The tags are those of the training rows, sorted.
    """

    name: ClassVar[str] = "token_classification"
    record: ClassVar[str] = "tags"
    head: ClassVar[str] = "token_classification"
    learning_rate: ClassVar[float] = 5e-5
    evaluators: ClassVar[tuple[str, ...]] = ("span_f1", "tag_accuracy")

    read: Read = Read.first
    """Token of a word that has its tag: first, as stock pipelines read it, or last, better in causal models."""
    label_all_tokens: bool = False
    """Further tokens of a word are trained too; there the tag `B-X` becomes `I-X`."""

    class_weights: ClassWeights = ClassWeights.none
    """How tokens of rare tags weigh more: none, balanced (inversely to the tokens of the tag), or effective_number
    (Cui et al. 2019). Scaled so that a token weighs 1 on average; a step is divided by its tokens."""
    beta: float = 0.999
    """For effective_number: 0 weighs all tags alike, towards 1 it becomes balanced."""
    focal_gamma: float = 0.0
    """Focal loss (Lin et al. 2017): a token's loss times (1 - probability of the truth)^gamma; 0 is cross-entropy."""

    def __post_init__(self) -> None:
        """The weights are known once the rows are."""
        self._weights: Tensor | None = None

    def check(self, run: Run) -> Iterable[str]:
        """Two ways of placing a tag at once; fields out of range."""
        if not 0 <= self.beta < 1:
            yield f"strategy.beta={self.beta} must be in [0, 1)"
        if not 0 <= self.focal_gamma < float("inf"):
            yield f"strategy.focal_gamma={self.focal_gamma} must be 0 or more"
        if self.read is Read.last and self.label_all_tokens:
            yield "strategy.read=last goes without strategy.label_all_tokens"

    def labels(self, rows: Sequence[Row]) -> Sequence[str]:
        """The tags of the rows, and those that further tokens need; sorted."""
        from tuneforge.training.text.classes import names

        found = {tag for row in rows for tag in row.columns["tags"]}
        return names(found | {_inside(tag) for tag in found} if self.label_all_tokens else found)

    def fits(self, loaded: Loaded, context: Context) -> Iterable[str]:
        """Fewer than two tags."""
        if len(context.labels) < 2:
            yield f"the training rows have {len(context.labels)} tag ({', '.join(context.labels)}); two are needed"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Tokens of the joined words, and part `tags`: the index of a tag at the tokens that carry loss, else -100."""
        from tuneforge.training.objective import misfit
        from tuneforge.training.text.classes import unknown
        from tuneforge.training.text.literal import RenderError
        from tuneforge.training.text.words import encode_words

        index = {name: i for i, name in enumerate(context.labels)}
        fit = [offers(row.columns, self.record) for row in rows]
        found = iter(encode_words([row.columns["tokens"] for row, ok in zip(rows, fit, strict=True) if ok], tokenizer))
        for row, ok in zip(rows, fit, strict=True):
            if not ok:
                yield Rejected(row, misfit(row.columns, self.record))
                continue
            words = next(found)
            tags: Sequence[str] = row.columns["tags"]
            new = next((tag for tag in tags if tag not in index), None)
            if isinstance(words, RenderError):
                yield Rejected(row, str(words))
            elif new is not None:
                yield Rejected(row, unknown(new, context.labels, "tag"))
            else:
                read = set(words.at(self.read).values())
                at = [self._at(tags, word, i in read) for i, word in enumerate(words.word)]
                target = [IGNORED if tag is None else index[tag] for tag in at]
                yield Encoded({"input_ids": words.ids, "tags": target})

    def _at(self, tags: Sequence[str], word: int, read: bool) -> str | None:
        """The tag that a token of that word is trained on; None: it carries no loss."""
        if word < 0 or not (read or self.label_all_tokens):
            return None
        return tags[word] if read else _inside(tags[word])

    def loss_items(self, encoded: Encoded) -> int:
        """Tokens with a tag: one a word, unless all are trained."""
        tags = encoded.parts["tags"]
        return len(tags) - list(tags).count(IGNORED)

    def begin(self, rows: Sequence[Encoded], step: Step) -> None:
        """The weights of the tags, from the tokens that will train."""
        from tuneforge.training.loss import balancing

        found = Counter(tag for row in rows for tag in row.parts["tags"])
        counts = [found[i] for i in range(len(step.context.labels))]
        self._weights = balancing.weights(counts, self.class_weights, self.beta)

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Cross-entropy summed over the tokens with a tag; how many of them are right is logged."""
        from tuneforge.training.loss import balancing

        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
        tags = batch["tags"]
        kept = tags != IGNORED
        logits, target = logits[kept], tags[kept]
        right = (logits.argmax(-1) == target).sum().float()
        losses = balancing.one_class(logits, target, self._weights, self.focal_gamma)
        return Loss(losses.sum(), kept.sum(), {"accuracy": right})

    def save(self, folder: Path, loaded: Loaded) -> None:
        """The tags beside an adapter, whose base model does not know them."""
        from tuneforge.training.text.classes import save_labels

        save_labels(folder, loaded)


IGNORED = -100


def _inside(tag: str) -> str:
    return f"I-{tag[2:]}" if tag.startswith("B-") else tag
