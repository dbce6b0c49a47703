"""The ten kinds of components (and three small ones). A component is a dataclass: its fields are the
config, its docstrings the documentation, its methods the work. Work methods import torch inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.columns import Columns as Columns
from tuneforge.columns import Format as Format
from tuneforge.columns import Role as Role
from tuneforge.protocols import LM as LM
from tuneforge.protocols import Context as Context
from tuneforge.protocols import Step as Step
from tuneforge.rows import (
    Answer,
    Conclusion,
    Encoded,
    HeldOut,
    Kept,
    Loaded,
    Loss,
    Metric,
    Rejected,
    Request,
    Row,
    Stage,
    Stats,
)

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger
    from numpy import ndarray
    from torch import Tensor
    from torch.nn import Module
    from torch.optim import Optimizer as TorchOptimizer
    from torch.optim.lr_scheduler import LRScheduler
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Component:
    """Base of all kinds."""

    name: ClassVar[str]
    """The option in the config: `strategy=<name>`."""
    extra: ClassVar[str] = ""
    """The pip extra whose absence makes this component unusable; empty if none."""
    module: ClassVar[str] = ""
    """The library of `extra`; a run is refused before anything is read where it is not installed."""

    def check(self, run: Run) -> Iterable[str]:
        """Reasons, one sentence each, why this component cannot serve this run. No heavy imports."""
        return ()


@dataclass(kw_only=True)
class Model(Component):
    """Where the model and its tokenizer come from."""

    learning_rate_factor: ClassVar[float] = 1.0
    """The strategy's learning rate is multiplied by this: very small models take larger rates."""

    def config(self) -> Mapping[str, Any]:
        """The model's configuration (config.json), without reading weights."""
        raise NotImplementedError

    def load(self, head: str, context: Context) -> Loaded:
        """The model with the given head (`causal_lm`, …) and its tokenizer, with a pad token set."""
        raise NotImplementedError


@dataclass(kw_only=True)
class DataSource(Component):
    """Rows from somewhere: a file format, a database, a generator of raw columns."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """File suffixes (without dot, without .gz) for which `data=PATH` chooses this source."""

    path: str = ""
    """File to read, a folder or a pattern (`logs/*.jsonl`) of files, or an archive of them."""
    split: str = "train"
    """Split to read, where the source has several."""
    weight: float = 1.0
    """How often the rows are seen per epoch, in training data: 0.1 is a seeded tenth, 2 is twice."""
    epochs: float | None = None
    """Passes over the training rows in the whole run: any number with trainer.max_epochs=1, else a multiple of it."""
    proportion: float | None = None
    """Share of the training rows that the source makes up: 0.05 for one row in twenty; null: by its size or weight."""
    limit: int | None = None
    """Read at most this many rows."""
    format: Format = Format.auto
    """Row format: auto, text, messages, sharegpt, alpaca, prompt_completion, preference, hh_rlhf, label, tags, pair
    or unpaired."""
    role: Role = Role.target
    """What an evaluation set stands for: target, general or safety."""
    columns: Columns = field(default_factory=Columns)
    """Canonical name: name in the file, a dotted path, or a template of them; overrides detection."""
    keep: list[str] = field(default_factory=list)
    """Further columns, or dotted paths, that evaluators and slices may read; no model sees them."""

    @property
    def needs_path(self) -> bool:
        """Whether it cannot read without a path: a source of files."""
        return bool(self.suffixes)

    def read(self, context: Context) -> Kept:
        """Rows with raw columns, `file` and `line` set; what cannot be read is yielded as Rejected.

        Raises ConfigError for a path that is missing, empty, or no file.
        """
        raise NotImplementedError

    def fingerprint(self) -> str:
        """A cheap identity of the content (version, etag), or empty: then the core hashes rows."""
        return ""


@dataclass(kw_only=True)
class Transform(Component):
    """Changes, drops or adds rows. Rows come out in order; a dropped row comes out as Rejected."""

    held_out: ClassVar[bool] = False
    """True: applied to evaluation sets too."""
    private: ClassVar[bool] = False
    """True: what it replaces or rejects is never quoted: not by its own report, nor by those of what comes before."""

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Every input row is yielded (changed or not) or yielded as Rejected."""
        raise NotImplementedError

    def adapt(self, loaded: Loaded, rows: Sequence[Row], held_out: Sequence[HeldOut], context: Context) -> Loaded:
        """The model and tokenizer that train, made of those found and of the rows after all transforms.

        The default returns what it is given. What is made is a copy: the model as found stays what the tuned one is
        compared with.
        """
        return loaded


@dataclass(kw_only=True)
class Generator(Component):
    """Makes rows: from a grammar, from seed rows, with a teacher."""

    count: int = 1000
    """How many rows to make."""
    teacher: str = ""
    """Key of the teacher to use, where one is needed."""

    def generate(self, seeds: Iterable[Row], context: Context) -> Kept:
        """`count` rows, from the seed rows where the generator uses them."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Teacher(Component):
    """A stronger model that answers requests."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON that tells who answers from every other; the default is all fields but secrets."""
        return {item.name: getattr(self, item.name) for item in fields(self) if not item.metadata.get("secret")}

    def complete(self, requests: Iterable[Request], context: Context) -> Iterator[tuple[Request, Answer]]:
        """Each request with its answer, in any order; failures are answers with `error` set."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Strategy(Component):
    """An objective: how rows become tokens and labels, and tokens a loss."""

    record: ClassVar[str]
    """What rows it needs: text, messages, completion, prompt, preference, unpaired, label, tags or pair."""
    head: ClassVar[str] = "causal_lm"
    packable: ClassVar[bool] = False
    """Several rows may share one sequence: parts are exactly input_ids and labels."""
    chunked: ClassVar[bool] = False
    """Rows longer than batch.max_length are cut into chunks, not quarantined: every token stands for itself."""
    reference: ClassVar[bool] = False
    """Needs reference log-probabilities."""
    learning_rate: ClassVar[float] = 2e-5
    unit: ClassVar[str] = "tokens"
    """What `Loss.items` counts, in words: tokens, rows, pairs, …"""
    evaluators: ClassVar[tuple[str, ...]] = ("perplexity",)
    """Evaluators used when the config names none; the first that applies is primary."""

    @property
    def divisible(self) -> bool:
        """Whether a batch may be cut into smaller forward passes without changing the result."""
        return True

    def takes(self, columns: Mapping[str, Any]) -> bool:
        """Whether it can train on a row with these columns; the default asks for `record`."""
        from tuneforge.conversation import offers

        return offers(columns, self.record)

    def labels(self, rows: Sequence[Row]) -> Sequence[str]:
        """Class names in the training rows, sorted; empty for a strategy without classes."""
        return ()

    def share(self, row: Row) -> str:
        """Which share of an epoch the row belongs to, for `epoch_weights`; empty: none."""
        return ""

    def epoch_weights(self, counts: Mapping[str, int]) -> Mapping[str, float]:
        """Share → how often its rows are seen per epoch, after `data.X.weight`; from rows per share."""
        return {}

    def fits(self, loaded: Loaded, context: Context) -> Iterable[str]:
        """Reasons, one sentence each, why this model or tokenizer cannot be trained so."""
        return ()

    def examples(self, rows: Sequence[Row], context: Context) -> Sequence[Row]:
        """What is encoded: the rows of a set themselves, or several rows made of each, in their order."""
        return rows

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """One Encoded or Rejected per row, in order. Called with batches of about 1,000 rows."""
        raise NotImplementedError

    def trained_texts(self, columns: Mapping[str, Any], part: str = "") -> Sequence[str] | None:
        """Texts of the row that are to carry loss in that part, in order; None: not known, or every token.

        Before the first step the labels are held against them; loss anywhere else refuses the run.
        """
        from tuneforge.conversation import trained_texts

        return trained_texts(columns, self.record, part)

    def loss_items(self, encoded: Encoded) -> int:
        """How many items of `unit` the row brings into the loss; the default counts tokens that are predicted."""
        from tuneforge.training.batches.collate import predicted

        return predicted(encoded)

    def referenced(self, encoded: Encoded) -> Sequence[str]:
        """Parts of a row whose reference log-probabilities are needed, where `reference` is set."""
        from tuneforge.training.batches.collate import parts_of

        return parts_of(encoded)

    def begin(self, rows: Sequence[Encoded], step: Step) -> None:
        """Called before the first step, and before the timed one, with the rows that will train."""

    def collate(self, rows: Sequence[Encoded], pad: int) -> Batch:
        """Right-padded int64 tensors (rows, length) per part, `attention_mask` per `input_ids`."""
        from tuneforge.training.batches.collate import collate

        return collate(rows, pad)

    def roll_out(self, model: Module, batch: Batch, step: Step) -> Batch:
        """On-policy strategies add generated continuations here."""
        return batch

    def updates(self) -> int:
        """Optimizer steps that are taken on each roll-out."""
        return 1

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """The loss summed over the batch's items, and how many items."""
        raise NotImplementedError

    def chunks(self, encoded: Encoded, limit: int) -> Iterator[Encoded]:
        """A row longer than `limit` tokens in pieces that fit; asked of strategies that are `chunked`."""
        from tuneforge.training.text.encode import overlapping

        return overlapping(encoded, limit)

    def prefix(self, column: str) -> str:
        """What stands before the text of `anchor`, `positive` or `negative`, in training and when it is embedded."""
        return ""

    def embed(self, model: Module, batch: Batch, part: str = "") -> Tensor:
        """(rows, width) embeddings of one part of a batch, pooled; asked of strategies with head `embedding`."""
        raise NotImplementedError

    def save(self, folder: Path, loaded: Loaded) -> None:
        """Write what other libraries need beside the saved model; the default needs nothing."""


@dataclass(kw_only=True)
class Adapter(Component):
    """Which parameters train."""

    learning_rate_factor: ClassVar[float] = 1.0
    """The strategy's learning rate is multiplied by this."""
    packable: ClassVar[bool] = True
    """Several documents may share one sequence."""
    kind: ClassVar[str] = ""
    """What it saves: PEFT's name of the adapter (`peft_type`), or one of its own; empty: a whole model."""

    def positions(self) -> int:
        """How many positions of the model's context the adapter takes for itself."""
        return 0

    def logs(self, model: Module) -> Mapping[str, float]:
        """Numbers of the adapter's own for each line of the training log."""
        return {}

    def quantization(self) -> Any | None:
        """A transformers quantization config with which the model has to be loaded; None: as it is."""
        return None

    def apply(self, model: Module, context: Context) -> Module:
        """The model with exactly the parameters that train requiring gradients."""
        raise NotImplementedError

    def before_step(self, model: Module, done: int, total: int) -> None:
        """Called before each optimizer step, for schedules of what trains."""

    def off(self, model: Module) -> AbstractContextManager[Any] | None:
        """A context in which the model is as this run found it; None: not recoverable."""
        return None

    def save(self, model: Module, folder: Path) -> None:
        """Write the tuned model as stock libraries load it (safetensors)."""
        raise NotImplementedError

    def load(self, model: Module, folder: Path, trainable: bool) -> Module:
        """Put what `save` wrote onto a freshly loaded base model."""
        raise NotImplementedError

    def merge(self, model: Module) -> Module:
        """A plain model with the adaptation in its weights."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Evaluator(Component):
    """Measures a variant on rows. Implements `score` (one generated answer) or `measure` (anything else)."""

    metrics: ClassVar[tuple[Metric, ...]]
    """What it reports; the first is primary."""
    record: ClassVar[str] = "completion"
    """What rows it needs."""
    max_tokens: ClassVar[int] = 256
    pairwise: ClassVar[bool] = False
    """Compares answers with those of `versus`. Where `versus` is None the variant is what others are compared with:
    it answers, and every statistic stands for a tie."""
    memorised: ClassVar[bool] = False
    """Asks about rows that were trained on, a seeded sample of them, instead of the held-out sets."""
    sets: list[str] = field(default_factory=list)
    """Evaluation sets to measure; empty: every set that has the columns."""

    def brings(self, context: Context) -> Sequence[HeldOut]:
        """Sets of its own, which it alone measures, beside the config's; called whenever variants are measured.

        In metrics.json a set is called `<key of the evaluator>.<name>`; rows must be the same at every call.
        """
        return ()

    def score(self, row: Row, answer: Answer) -> Stats:
        """One row's sufficient statistics, by name; 0/1 statistics get exact intervals."""
        raise NotImplementedError

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """Statistics per row, in order. The default judges generated answers."""
        return self.judge(rows, lm.generate(rows, self.max_tokens), context)

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """Statistics of these answers to the rows' prompts, in order, as when it serves as a reward.

        The default scores each by itself; override it where many are judged faster together, or by a model.
        """
        return map(self.score, rows, answers)

    def serves(self, columns: Mapping[str, Any]) -> bool:
        """Whether a row with these columns can be measured; the default asks for `record`."""
        from tuneforge.conversation import offers

        return offers(columns, self.record)

    def classes(self, rows: Sequence[Row], context: Context) -> Sequence[str]:
        """Names of the classes that the statistics `predicted` and `true` count from 0, for a confusion matrix."""
        return ()

    def unsuited(self, rows: Sequence[Row]) -> str:
        """Why it should not be chosen for these rows unless the config names it; empty: it may be."""
        return ""

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Metrics of some of the rows, from arrays (n,) of each statistic.

        Intervals leave rows out, permutation tests swap those of two variants; so it is called thousands of times.
        """
        return {m.name: float(stats[m.name].mean()) for m in self.metrics}

    def curves(self, stats: Mapping[str, ndarray]) -> Mapping[str, Sequence[Stats]]:
        """What is to be drawn of these statistics: kind of curve → points with `x`, `y`, `n`, `low` and `high`.

        The report draws the kinds `reliability` and `risk_coverage`; others stand in metrics.json alone.
        """
        return {}


@dataclass(kw_only=True)
class Exporter(Component):
    """Writes the tuned model in another form."""

    tolerance: float | None = None
    """Largest difference from the tuned model's outputs, as a share of the largest; null: what the form explains."""

    @property
    def limit(self) -> float:
        """The tolerance in force."""
        return 1e-4 if self.tolerance is None else self.tolerance

    def export(self, loaded: Loaded, folder: Path, context: Context) -> None:
        """Write `loaded` to `folder`."""
        raise NotImplementedError

    def reload(self, folder: Path, context: Context) -> Loaded | None:
        """Load what was exported, to be compared with the tuned model; None: it cannot be loaded here."""
        return None


@dataclass(kw_only=True)
class Program(Component):
    """A list of named override lists on top of the user's config: stages, rungs or points."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """All stages that may run, in order."""
        raise NotImplementedError

    def next(self, stages: Sequence[Stage], done: Sequence[Mapping[str, Any]]) -> Stage | None:
        """The stage to run after those done; None ends the program.

        Of each stage done its run.json, with its name as `stage` and its metrics.json as `metrics`.
        """
        return stages[len(done)] if len(done) < len(stages) else None

    def conclude(self, done: Sequence[Mapping[str, Any]]) -> Conclusion | None:
        """What the stages say together, from the same as `next`; None: nothing beyond their own reports."""
        return None


@dataclass(kw_only=True)
class Optimizer(Component):
    """A torch optimizer."""

    matrices: ClassVar[bool] = False
    """Treats hidden matrices unlike the rest: groups say by `hidden` which they are."""
    shareable: ClassVar[bool] = True
    """Works where each device holds a share of every parameter (`trainer=fsdp`)."""

    learning_rate: float | None = None
    """Peak learning rate; null: the strategy's own times the adapter's factor."""
    weight_decay: float = 0.01
    """Decoupled weight decay; norms and biases are never decayed."""
    layer_decay: float = 1.0
    """Each layer's learning rate is that of the layer above times this: the head's is whole, the embeddings' least."""

    def build(self, groups: Sequence[Mapping[str, Any]], learning_rate: float) -> TorchOptimizer:
        """The optimizer over parameter groups that carry their own `weight_decay`, and `lr` where it differs."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Scheduler(Component):
    """A learning-rate schedule over optimizer steps."""

    warmup: float = 0.03
    """Warm-up: a share of all steps when below 1, else a number of steps."""

    def build(self, optimizer: TorchOptimizer, steps: int) -> LRScheduler:
        """The schedule for `steps` optimizer steps, stepped once after each."""
        raise NotImplementedError

    def warmup_steps(self, steps: int) -> int:
        """Warm-up in optimizer steps."""
        return int(self.warmup) if self.warmup >= 1 else int(self.warmup * steps)


@dataclass(kw_only=True)
class Logger(Component):
    """Where training metrics go."""

    def build(self, context: Context) -> LightningLogger:
        """A Lightning logger."""
        raise NotImplementedError
