"""Classification of texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.conversation import classes
from tuneforge.rows import Encoded, Loaded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Classification(Strategy):
    """A text gets one of several classes, or several of them: a linear head on the model, as transformers has it.

    The classes are those of the training rows, sorted. One class per row: cross-entropy over them. Rows whose label
    is a list: each class is decided by itself, by binary cross-entropy averaged over the classes.
    """

    name: ClassVar[str] = "classification"
    record: ClassVar[str] = "label"
    head: ClassVar[str] = "sequence_classification"
    unit: ClassVar[str] = "rows"
    learning_rate: ClassVar[float] = 5e-5
    evaluators: ClassVar[tuple[str, ...]] = ("classification",)

    multi_label: bool | None = None
    """A text may have several classes, or none; null: where the label of a training row is a list."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly: over all classes, or over yes and no of each."""

    def __post_init__(self) -> None:
        """Whether several classes are possible is known once the rows are."""
        self._several = bool(self.multi_label)

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range."""
        if not 0 <= self.label_smoothing < 1:
            yield f"strategy.label_smoothing={self.label_smoothing} must be in [0, 1)"

    def labels(self, rows: Sequence[Row]) -> Sequence[str]:
        """The classes of the rows, sorted."""
        from tuneforge.training.text.classes import names

        if self.multi_label is None:
            self._several = any(isinstance(row.columns["label"], list) for row in rows)
        return names(name for row in rows for name in classes(row.columns) or ())

    def fits(self, loaded: Loaded, context: Context) -> Iterable[str]:
        """Fewer than two classes; a model that cannot tell padding. Writes into its config which loss it is."""
        config = loaded.model.config
        if len(context.labels) < 2:
            yield f"the training rows have {len(context.labels)} class ({', '.join(context.labels)}); two are needed"
        if getattr(config, "pad_token_id", None) is None:
            yield "the model's config has no pad_token_id, without which it cannot find the last token of a padded row"
        config.problem_type = "multi_label_classification" if self._several else "single_label_classification"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Tokens of the text, and part `class`: the index of its class, or 0 or 1 for each class."""
        from tuneforge.training.objective import misfit
        from tuneforge.training.text.literal import RenderError
        from tuneforge.training.text.render import affixed

        index = {name: i for i, name in enumerate(context.labels)}
        texts = affixed([row.columns.get("text") or "" for row in rows], tokenizer)
        for row, text in zip(rows, texts, strict=True):
            named = classes(row.columns)
            if named is None:
                yield Rejected(row, misfit(row.columns, self.record))
            elif isinstance(text, RenderError) or not text.ids:
                yield Rejected(row, str(text) if isinstance(text, RenderError) else "no token: the text has none")
            elif why := self._odd(named, context.labels):
                yield Rejected(row, why)
            else:
                chosen = [index[name] for name in named]
                target = [int(i in chosen) for i in range(len(index))] if self._several else chosen
                yield Encoded({"input_ids": text.ids, "class": target})

    def _odd(self, named: Sequence[str], known: Sequence[str]) -> str:
        """Why the classes of a row cannot be trained; empty: they can."""
        from tuneforge.training.text.classes import unknown

        new = next((name for name in named if name not in known), None)
        if new is not None:
            return unknown(new, known, "label")
        if not self._several and len(named) != 1:
            return f"{len(named)} labels: one class per row is trained; strategy.multi_label=true takes several"
        return ""

    def loss_items(self, encoded: Encoded) -> int:
        """One row."""
        return 1

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Cross-entropy summed over rows; how many rows are wholly right is logged."""
        from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
        target, smooth = batch["class"], self.label_smoothing
        if self._several:
            aim = target.float() * (1 - smooth) + smooth / 2
            total = binary_cross_entropy_with_logits(logits, aim, reduction="none").mean(1).sum()
            right = ((logits > 0).long() == target).all(1)
        else:
            total = cross_entropy(logits, target[:, 0], reduction="sum", label_smoothing=smooth)
            right = logits.argmax(1) == target[:, 0]
        return Loss(total, len(target), {"accuracy": right.sum().float()})

    def save(self, folder: Path, loaded: Loaded) -> None:
        """The classes beside an adapter, whose base model does not know them."""
        from tuneforge.training.text.classes import save_labels

        save_labels(folder, loaded)
