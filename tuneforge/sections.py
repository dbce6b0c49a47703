"""The parts of a `Run` that are no components: every key below `batch`, `audit`, `gate`, `trainer`, …"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Parallel(StrEnum):
    """How several devices share the training."""

    auto = "auto"
    ddp = "ddp"
    fsdp = "fsdp"


class Packing(StrEnum):
    """Whether several rows share one sequence."""

    auto = "auto"
    on = "on"
    off = "off"


class Grouping(StrEnum):
    """Whether rows of like length share a step."""

    auto = "auto"
    on = "on"
    off = "off"


class Streaming(StrEnum):
    """Whether rows are kept on disk instead of in memory."""

    auto = "auto"
    on = "on"
    off = "off"


class GateLevel(StrEnum):
    """Which verdicts pass."""

    off = "off"
    default = "default"
    strict = "strict"
    custom = "custom"


@dataclass(kw_only=True)
class Batch:
    """How rows become batches."""

    size: int = 8
    """Rows or packs per device and batch; a step takes several batches with global_size."""
    global_size: int | None = None
    """Rows or packs per optimizer step over all devices; null: size times devices. Must divide evenly."""
    max_length: int | None = None
    """Longest sequence in tokens; null: the smaller of the model's context and 1024. Longer rows are quarantined."""
    packing: Packing = Packing.auto
    """Several rows per sequence: auto (where a probe proves it exact and enough steps remain), on or off."""
    group_by_length: Grouping = Grouping.auto
    """Rows of like length share a step: auto (where it saves a tenth of the padded tokens), on or off."""
    micro: int | None = None
    """Rows or packs per forward pass; null: as many of size as memory takes. Results do not depend on it."""
    gradient_checkpointing: bool = False
    """Compute layers again in the backward pass instead of keeping them: less memory, a third more time."""


class Average(StrEnum):
    """Which weights are validated, saved and evaluated."""

    none = "none"
    ema = "ema"
    swa = "swa"


@dataclass(kw_only=True)
class Regularization:
    """What keeps the tuned model general."""

    neftune_alpha: float = 0.0
    """Uniform noise of this size on the embeddings while training (NEFTune, arXiv:2310.05914); 0: none, 5 is usual."""
    average: Average = Average.none
    """The weights that are validated, saved and evaluated: none (the last), ema or swa (their average over steps)."""
    ema_decay: float = 0.99
    """Share of the average that stays at each step with ema; it reaches back about 1 / (1 - ema_decay) steps."""
    swa_start: float = 0.75
    """With swa, weights are averaged from here: a share of all steps when below 1, else a step."""


@dataclass(kw_only=True)
class EarlyStopping:
    """When training ends before its last step, and which weights it leaves; only where a validation set exists."""

    patience: int | None = 3
    """Validations without improvement after which training stops; null: it never stops early."""
    min_delta: float = 0.0
    """A validation loss counts as improvement when it falls by more than this."""
    best: bool = True
    """The saved and evaluated model is the one with the lowest validation loss, not the last."""


@dataclass(kw_only=True)
class Mixture:
    """How the training sources are mixed, beside what each says of its own weight, epochs or proportion."""

    temperature: float = 1.0
    """Sources that say nothing of their own share by size^(1/temperature), the largest once; 1: by size."""
    max_repeats: int | None = None
    """No row is seen more often per epoch, whatever its source asks for; what this cuts is said. null: no limit."""
    fraction: float = 1.0
    """Train on a seeded share of each source's rows; 0.25 is part of 0.5. Held-out sets stay as they are."""


@dataclass(kw_only=True)
class Checkpoint:
    """When training state is saved."""

    every: int | None = None
    """Optimizer steps between checkpoints; null: ten per run."""
    keep: int = 2
    """How many checkpoints to keep."""


class Annotations(StrEnum):
    """Whether the labels of a row are opinions of several people on one question."""

    none = "none"
    lists = "lists"
    rows = "rows"


@dataclass(kw_only=True)
class Audit:
    """What is proved about the data before the first step."""

    fail_on: list[str] = field(default_factory=lambda: ["leakage"])
    """Checks whose warnings and errors refuse the run (exit 3); error or warning: those of any check; []: none."""
    skip: list[str] = field(default_factory=list)
    """Checks that are not made."""
    sample: int = 20000
    """Rows that the costly checks look at, a seeded sample of larger sets; said where it binds."""
    annotations: Annotations = Annotations.none
    """Where annotators' labels stand: none, lists (a label of each, in one order) or rows (one text, several rows)."""
    preview: int = 20
    """Rows written to data/preview.jsonl with their mask."""


@dataclass(kw_only=True)
class Budget:
    """How much may be lost against the base model, per role, in the unit of the metric."""

    general: float = 0.05
    """Allowed loss on general sets."""
    safety: float = 0.05
    """Allowed loss on safety sets."""


@dataclass(kw_only=True)
class Gate:
    """What the verdict must be for exit code 0."""

    level: GateLevel = GateLevel.default
    """off: always 0; default: 4 on worse; strict: 4 on anything but better; custom: only require, allow and budgets."""
    metric: str | None = None
    """Primary metric as `evaluator.metric`; null: the first metric of the first evaluator."""
    min_gain: float = 0.0
    """The tuned model must be proven better than the baseline by more than this."""
    against: str | None = None
    """What the gain is counted from: base, prompted or an earlier run's folder; null: best prompt or rule, and base."""
    require: list[str] = field(default_factory=list)
    """Gains that must be proven, each as METRIC@SET/BY:SLICE>=GAIN, as in exact_match>=0.05; @ and / may be absent."""
    allow: list[str] = field(default_factory=list)
    """Losses that are accepted elsewhere, in the same form, as in exact_match@news/length:*>=-0.02; more is worse."""
    budget: Budget = field(default_factory=Budget)
    """Forgetting that is accepted."""

    @property
    def earlier_run(self) -> str | None:
        """The run directory that `against` names, if it names one."""
        return None if self.against in ("base", "prompted") else self.against


class Selection(StrEnum):
    """Which training rows are shown as examples."""

    fixed = "fixed"
    random = "random"
    nearest = "nearest"


DOCUMENTS = (".txt", ".md")
"""Suffixes of the texts that are read from a folder of `baseline.documents`."""


@dataclass(kw_only=True)
class Slices:
    """How test rows are told apart to find where a model fails."""

    by: list[str] = field(default_factory=list)
    """label, length, task, topic (clusters of words), or kept columns; []: all that the rows offer."""
    fewest: int = 10
    """Smaller slices are not looked at."""


@dataclass(kw_only=True)
class Baseline:
    """The prompts that the tuned model has to beat."""

    shots: list[int] = field(default_factory=lambda: [4])
    """How many examples from the training rows k-shot prompts show, each tried; []: no examples."""
    selection: list[Selection] = field(default_factory=lambda: [Selection.random])
    """Which rows are shown, each tried: fixed (by hash, unlike answers first), random or nearest (to each question)."""
    instructions: list[str] = field(default_factory=list)
    """System messages to try, or `@FILE` that holds one; text before everything where there is no chat template."""
    formats: list[str] = field(default_factory=list)
    """Forms of the question to try, with `{prompt}` where it stands."""
    documents: str | None = None
    """A text file, or a folder of .txt and .md files, whose best passages are tried before each question."""
    passages: int = 3
    """How many passages of the documents stand before a question."""
    rows: int = 100
    """Validation rows on which the baseline is chosen."""


@dataclass(kw_only=True)
class TrainerSettings:
    """Arguments of Lightning's Trainer. Accumulation follows from batch.global_size."""

    accelerator: str = "auto"
    """cpu, gpu, mps or auto."""
    devices: str = "auto"
    """Devices of each machine: auto, a number, or a list of GPUs such as '0,1'."""
    num_nodes: int = 1
    """Machines; above 1, torchrun or srun starts the processes."""
    strategy: Parallel = Parallel.auto
    """Several devices: ddp (each holds the whole model), fsdp (each holds a share of it); auto: ddp."""
    precision: str = "32-true"
    """Lightning's precision: 32-true, bf16-mixed, bf16-true, 16-mixed."""
    max_epochs: int | None = 3
    """Passes over the training data; null: max_steps decides."""
    max_steps: int = -1
    """Optimizer steps; -1: max_epochs decides. Whichever comes first."""
    gradient_clip_val: float | None = 1.0
    """Largest norm of the gradient; null: no clipping."""
    log_every_n_steps: int = 10
    """Optimizer steps between lines in the training log."""
    val_check_interval: int | None = None
    """Optimizer steps between validation losses; null: once per epoch."""
    deterministic: bool = True
    """Deterministic algorithms only."""
    compile: bool = False
    """torch.compile the model: slow first steps, faster later ones."""
    detect_anomaly: bool = False
    """Name the operation that made a NaN (slow)."""
