"""One component of each kind, as small as the kind allows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from tuneforge.components import (
    Adapter,
    DataSource,
    Evaluator,
    Exporter,
    Generator,
    Logger,
    Model,
    Optimizer,
    Program,
    Scheduler,
    Strategy,
    Teacher,
    Transform,
)
from tuneforge.rows import Answer, Encoded, Loss, Metric, Rejected, Row, Stage


@dataclass(kw_only=True)
class KitchenModel(Model):
    """The embedded model, under another name."""

    name: ClassVar[str] = "kitchen"

    def config(self):
        """As tiny's."""
        from tuneforge.model.tiny import Tiny

        return Tiny().config()

    def load(self, head, context):
        """As tiny's."""
        from tuneforge.model.tiny import Tiny

        return Tiny().load(head, context)


@dataclass(kw_only=True)
class KitchenData(DataSource):
    """Numbered dishes."""

    name: ClassVar[str] = "kitchen"
    first: int = 0
    """Number of the first dish."""
    rows: int = 10
    """How many."""

    def read(self, context):
        """Prompt and completion."""
        for n in range(self.first, self.first + self.rows):
            yield Row(columns={"prompt": f"What is dish {n}?", "completion": f"soup {n}"}, file="menu", line=n)


@dataclass(kw_only=True)
class KitchenTransform(Transform):
    """Rejects one dish."""

    name: ClassVar[str] = "kitchen"

    def apply(self, rows, context):
        """All but dish 3."""
        for row in rows:
            yield Rejected(row, "off the menu") if "dish 3?" in row.columns["prompt"] else row


@dataclass(kw_only=True)
class KitchenGenerator(Generator):
    """Further dishes."""

    name: ClassVar[str] = "kitchen"

    def generate(self, seeds, context):
        """Numbered desserts."""
        for n in range(self.count):
            yield Row(columns={"prompt": f"What is dessert {n}?", "completion": f"cake {n}"}, file="dessert", line=n)


@dataclass(kw_only=True)
class KitchenTeacher(Teacher):
    """Repeats the last message."""

    name: ClassVar[str] = "kitchen"

    def complete(self, requests, context):
        """Each request with its own words."""
        for request in requests:
            yield request, Answer(request.messages[-1]["content"])


@dataclass(kw_only=True)
class KitchenStrategy(Strategy):
    """Likelihood of the completion, written out."""

    name: ClassVar[str] = "kitchen"
    record: ClassVar[str] = "completion"
    evaluators: ClassVar[tuple[str, ...]] = ("kitchen",)

    def encode(self, rows, tokenizer, context):
        """Prompt and answer."""
        from tuneforge.training.text.render import answers

        for row in answers([r.columns for r in rows], tokenizer, "completion"):
            yield Encoded({"input_ids": row.ids, "labels": [-100] * row.cut + row.ids[row.cut :]})

    def loss(self, model, batch, step):
        """Nats over labelled tokens."""
        sums, counts = step.log_probs(model, batch)
        return Loss(-sums.sum(), counts.sum(), {"tokens": counts.sum()})


@dataclass(kw_only=True)
class KitchenAdapter(Adapter):
    """Trains the last layer."""

    name: ClassVar[str] = "kitchen"

    def apply(self, model, context):
        """Everything else is frozen."""
        model.requires_grad_(False)
        model.model.layers[-1].requires_grad_(True)
        return model

    def save(self, model, folder):
        """A whole model."""
        model.save_pretrained(folder)

    def load(self, model, folder, trainable):
        """The weights that were saved."""
        return type(model).from_pretrained(folder)

    def merge(self, model):
        """It is one already."""
        return model


@dataclass(kw_only=True)
class KitchenOptimizer(Optimizer):
    """Plain gradient descent."""

    name: ClassVar[str] = "kitchen"

    def build(self, groups, learning_rate):
        """SGD."""
        from torch.optim import SGD

        return SGD([dict(g) for g in groups], lr=learning_rate)


@dataclass(kw_only=True)
class KitchenScheduler(Scheduler):
    """Halves the rate with each step."""

    name: ClassVar[str] = "kitchen"

    def build(self, optimizer, steps):
        """A power of two."""
        from torch.optim.lr_scheduler import LambdaLR

        return LambdaLR(optimizer, lambda step: 0.5**step)


@dataclass(kw_only=True)
class KitchenEvaluator(Evaluator):
    """Whether the answer speaks of soup."""

    name: ClassVar[str] = "kitchen"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("soup"),)
    max_tokens: ClassVar[int] = 4

    def score(self, row, answer):
        """1 or 0."""
        return {"soup": float("soup" in answer.text)}


@dataclass(kw_only=True)
class KitchenProgram(Program):
    """Two stages."""

    name: ClassVar[str] = "kitchen"

    def stages(self, run):
        """The second from the first's model."""
        return [Stage("starter", ["seed=1"]), Stage("main", ["seed=2"], model_from="starter")]


@dataclass(kw_only=True)
class KitchenLogger(Logger):
    """One JSON line per logged step."""

    name: ClassVar[str] = "kitchen"
    file: str = "kitchen.jsonl"
    """Name of the file in `logs/`."""

    def build(self, context):
        """A Lightning logger."""
        from lightning.pytorch.loggers import Logger as LightningLogger

        path = context.folder / "logs" / self.file

        class Lines(LightningLogger):
            name, version = "kitchen", ""

            def log_hyperparams(self, *args, **kwargs):
                """Nothing."""

            def log_metrics(self, metrics, step=None):
                """A line."""
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": step, **metrics}) + "\n")

        return Lines()


@dataclass(kw_only=True)
class KitchenExporter(Exporter):
    """A list of parameters."""

    name: ClassVar[str] = "kitchen"

    def export(self, loaded, folder, context):
        """One name a line."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "names.txt").write_text("\n".join(name for name, _ in loaded.model.named_parameters()))


def counting_callback(run):
    """Counts batches into `batches.txt` in the run directory."""
    from lightning.pytorch import Callback

    class Counting(Callback):
        batches = 0

        def on_train_batch_end(self, *arguments):
            """One more."""
            self.batches += 1

        def on_train_end(self, trainer, module):
            """Written at the end."""
            from pathlib import Path

            Path(trainer.default_root_dir, "batches.txt").write_text(f"{run.name} {self.batches}")

    return Counting()
