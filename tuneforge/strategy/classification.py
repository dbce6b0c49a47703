"""Classification of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tuneforge.components import Context, Step, Strategy
from tuneforge.conversation import classes
from tuneforge.errors import ConfigError
from tuneforge.rows import Encoded, Loaded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.adapter.freeze import Freeze
    from tuneforge.rows import Batch
    from tuneforge.settings import Run
    from tuneforge.training.loss.synthetic import Synthetic


class ClassWeights(StrEnum):
    """How rows of rare classes weigh more."""

    none = "none"
    balanced = "balanced"
    effective_number = "effective_number"


class Smote(StrEnum):
    """Which synthetic vectors rare classes get."""

    none = "none"
    smote = "smote"
    borderline = "borderline"
    adasyn = "adasyn"


@dataclass(kw_only=True)
class Classification(Strategy):
    """A text gets one of several classes, or several of them: a linear head on the model, as transformers has it.

    The classes are those of the training rows, sorted. One class per row: cross-entropy over them. Rows whose label
    is a list: each class is decided by itself, by binary cross-entropy averaged over the classes.

    Weights are scaled so that a training row weighs 1 on average (of several classes: each yes or no), and the loss of
    a step is divided by its rows, not by the weights that happen to stand in it: then a row weighs the same whatever
    shares its step, and over all training rows this is torch's weighted mean. Rows of a validation set weigh the same
    by class.
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
    class_weights: ClassWeights = ClassWeights.none
    """How rows of rare classes weigh more: none, balanced (inversely to the rows of the class), or effective_number
    (Cui et al. 2019), which weighs less steeply."""
    beta: float = 0.999
    """For effective_number: 0 weighs all classes alike, towards 1 it becomes balanced. 1 / (1 - beta) is the number of
    rows beyond which more of them hardly count."""
    focal_gamma: float = 0.0
    """Focal loss (Lin et al. 2017): each row's loss times (1 - probability of the truth)^gamma; 0 is cross-entropy."""
    smote: Smote = Smote.none
    """Synthetic vectors between rows of rare classes, on which the head trains too: none, smote, borderline or adasyn.
    Only where nothing but the head trains (adapter=freeze)."""

    def __post_init__(self) -> None:
        """Whether several classes are possible is known once the rows are."""
        self._several = bool(self.multi_label)
        self._weights: Tensor | None = None
        self._synthetic: Synthetic | None = None

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range, or that do not go together."""
        if not 0 <= self.label_smoothing < 1:
            yield f"strategy.label_smoothing={self.label_smoothing} must be in [0, 1)"
        if not 0 <= self.beta < 1:
            yield f"strategy.beta={self.beta} must be in [0, 1)"
        if not 0 <= self.focal_gamma < float("inf"):
            yield f"strategy.focal_gamma={self.focal_gamma} must be 0 or more"
        if self.focal_gamma and self.label_smoothing:
            yield "strategy.focal_gamma goes without strategy.label_smoothing, which takes back what it spares"
        if self.smote is not Smote.none:
            yield from self._no_smote(run)

    def _no_smote(self, run: Run) -> Iterator[str]:
        """Why synthetic vectors cannot be made: they must stay true for the whole run."""
        key = f"strategy.smote={self.smote}"
        if find_spec("imblearn") is None:
            yield f"{key} needs imblearn: pip install 'tuneforge[imbalanced]'"
        if self.class_weights is not ClassWeights.none:
            yield f"{key} and strategy.class_weights={self.class_weights} both make up for rare classes; choose one"
        if run.strategy is not self:
            yield f"{key} is for one task alone, not for one of several"
        if self.multi_label:
            yield f"{key} needs one class per row, not strategy.multi_label=true"
        adapter: Any = run.adapter
        if adapter.name != "freeze" or not adapter.train or adapter.last_layers:
            yield (
                f"{key} needs vectors that do not move: train the head alone, with adapter=freeze"
                " 'adapter.train=[score]' (models like Llama) or 'adapter.train=[classifier]' (like BERT)"
            )
        if str(run.trainer.strategy) == "fsdp":
            yield f"{key} needs the whole model on each device: trainer=ddp"

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

    def begin(self, rows: Sequence[Encoded], step: Step) -> None:
        """The weights of the classes, and synthetic vectors, from the rows that will train."""
        self._weights = self._weighted([row.parts["class"] for row in rows], len(step.context.labels))
        if self.smote is not Smote.none:
            said = self._synthetic is not None
            self._synthetic = self._synthesised(rows, step)
            if not said:
                self._say(self._synthetic, step.context)

    def _weighted(self, targets: Sequence[Sequence[int]], classes: int) -> Tensor | None:
        """(classes,) weights, or (classes, 2) of no and yes where each is decided by itself; None: all weigh alike."""
        import torch

        from tuneforge.training.loss import balancing

        if self.class_weights is ClassWeights.none:
            return None
        if not self._several:
            rows = Counter(target[0] for target in targets)
            return balancing.weights([rows[i] for i in range(classes)], self.class_weights, self.beta)
        yes = [sum(target[i] for target in targets) for i in range(classes)]
        sides = [balancing.weights([len(targets) - n, n], self.class_weights, self.beta) for n in yes]
        return torch.stack([side for side in sides if side is not None])

    def _synthesised(self, rows: Sequence[Encoded], step: Step) -> Synthetic:
        from tuneforge.adapter.freeze import matching
        from tuneforge.training.loss import synthetic

        if self._several:
            raise ConfigError(f"strategy.smote={self.smote} needs one class per row, and a label here is a list")
        model, adapter = step.model, cast("Freeze", step.context.run.adapter)
        names = [name for name, _ in model.named_parameters()]
        head = synthetic.output_layer(model)[0]
        trained = {name for pattern in adapter.train for name in matching(pattern, names)}
        others = sorted(name for name in trained if not name.startswith(f"{head}."))
        if others:
            raise ConfigError(
                f"strategy.smote={self.smote} needs vectors that do not move, and adapter.train trains {others[0]},"
                f" below the last layer; type 'adapter.train=[{head}]'"
            )
        pad = int(step.tokenizer.pad_token_id or 0)
        vectors = synthetic.vectors_of(model, rows, lambda some: self.collate(some, pad))
        return synthetic.synthesise(vectors, [row.parts["class"][0] for row in rows], self.smote, step.context.seed)

    def _say(self, made: Synthetic, context: Context) -> None:
        context.note(
            f"{self.smote}: {len(made.vectors):,} synthetic vectors of {len(set(made.classes.tolist())):,} classes,"
            f" {made.per_row:.2f} for each row"
        )
        for why, places in made.left.items():
            names = ", ".join(context.labels[i] for i in places[:3]) + (" …" if len(places) > 3 else "")
            context.note(f"{self.smote}: {len(places):,} classes get none ({names}): {why}")

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Cross-entropy summed over rows, and over the synthetic vectors that fall to them, which are items too.

        How many rows are wholly right is logged.
        """
        import torch

        from tuneforge.training.loss import balancing

        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
        target, smooth = batch["class"], self.label_smoothing
        if self._several:
            losses = balancing.each_class(logits, target, self._weights, self.focal_gamma, smooth)
            right = ((logits > 0).long() == target).all(1)
        else:
            losses = balancing.one_class(logits, target[:, 0], self._weights, self.focal_gamma, smooth)
            right = logits.argmax(1) == target[:, 0]
        if self._synthetic is not None and self._synthetic.per_row and model.training:
            losses = torch.cat([losses, self._on_synthetic(self._synthetic, model, step.streams(len(target)))])
        accuracy = torch.stack([right.sum(), torch.full_like(target[0, 0], len(target))]).float()
        return Loss(losses.sum(), len(losses), {"accuracy": accuracy})

    def _on_synthetic(self, made: Synthetic, model: Module, streams: Sequence[Generator]) -> Tensor:
        """(vectors,) losses of the head on the synthetic vectors that these rows draw."""
        from tuneforge.training.loss import balancing, synthetic

        chosen = made.drawn(streams)
        layer = synthetic.output_layer(model)[1]
        logits = layer(made.vectors[chosen].to(layer.weight.dtype)).float()
        return balancing.one_class(logits, made.classes[chosen], None, self.focal_gamma, self.label_smoothing)

    def save(self, folder: Path, loaded: Loaded) -> None:
        """The classes beside an adapter, whose base model does not know them."""
        from tuneforge.training.text.classes import save_labels

        save_labels(folder, loaded)
