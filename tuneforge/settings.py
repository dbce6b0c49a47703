"""The whole `Run`: every key that a config may hold, with its type, default and text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tuneforge.components import (
    Adapter,
    Component,
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
from tuneforge.errors import ConfigError
from tuneforge.rules import problems
from tuneforge.sections import (
    Audit,
    Baseline,
    Batch,
    Checkpoint,
    EarlyStopping,
    Gate,
    Mixture,
    Regularization,
    Slices,
    Streaming,
    TrainerSettings,
)


@dataclass(kw_only=True)
class Run:
    """One run of TuneForge: everything it needs, typed; `run.strategy` is the object itself."""

    name: str | None = None
    """Name of the run; null: the strategy's name."""
    seed: int = 0
    """Seed of every random choice."""
    output_dir: str | None = None
    """Run directory; null: outputs/<date>/<time>-<name>."""
    resume: str | None = None
    """A run directory to continue; alone, with only length, devices and learning rate changed."""
    max_quarantined: float = 0.05
    """Largest share of rows that may be dropped before the run is refused."""
    streaming: Streaming = Streaming.auto
    """Keep rows on disk, read as they are needed: auto (where the files are large for the memory), on or off."""
    model: Model = MISSING
    """The model to adapt."""
    data: dict[str, DataSource] = field(default_factory=dict)
    """Training data."""
    validation: dict[str, DataSource] = field(default_factory=dict)
    """Sets on which prompts are chosen and training is watched."""
    test: dict[str, DataSource] = field(default_factory=dict)
    """Sets on which the verdict is reached."""
    transform: dict[str, Transform] = field(default_factory=dict)
    """Transforms, in order."""
    synthetic: dict[str, Generator] = field(default_factory=dict)
    """Generators whose rows join the training data."""
    teacher: dict[str, Teacher] = field(default_factory=dict)
    """Stronger models that generators and evaluators may ask."""
    strategy: Strategy = MISSING
    """The objective."""
    adapter: Adapter = MISSING
    """What trains."""
    optimizer: Optimizer = MISSING
    """The optimizer."""
    scheduler: Scheduler = MISSING
    """The learning-rate schedule."""
    evaluator: dict[str, Evaluator] = field(default_factory=dict)
    """Evaluators; none: those that the strategy names."""
    program: Program | None = None
    """Stages, rungs or grid on top of this config; null: one run."""
    logger: dict[str, Logger] = field(default_factory=dict)
    """Where training metrics go."""
    exporter: dict[str, Exporter] = field(default_factory=dict)
    """Further forms in which the tuned model is written."""
    batch: Batch = field(default_factory=Batch)
    """How rows become batches."""
    mixture: Mixture = field(default_factory=Mixture)
    """How the training sources are mixed."""
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    """When training state is saved."""
    regularization: Regularization = field(default_factory=Regularization)
    """What keeps the tuned model general."""
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    """When training ends early."""
    audit: Audit = field(default_factory=Audit)
    """What is proved before the first step."""
    baseline: Baseline = field(default_factory=Baseline)
    """The prompts to beat."""
    slices: Slices = field(default_factory=Slices)
    """Where a model fails."""
    gate: Gate = field(default_factory=Gate)
    """What the verdict must be."""
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    """Lightning's Trainer."""

    @classmethod
    def from_config(cls, config: DictConfig, types: Mapping[str, str]) -> Run:
        """The typed objects of a composed or saved config; ConfigError lists every rule that it breaks."""
        try:
            _refuse_missing(config)
            _refuse_literal_secrets(config, types)
            run = OmegaConf.to_object(config)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{error.full_key or 'config'}: {_reason(error)}") from error
        assert isinstance(run, Run)
        broken = list(problems(run))
        if broken:
            raise ConfigError("\n".join(broken))
        return run

    @property
    def learning_rate(self) -> float:
        """Peak learning rate: the optimizer's, or the strategy's times the adapter's and the model's factors."""
        if self.optimizer.learning_rate is not None:
            return self.optimizer.learning_rate
        return self.strategy.learning_rate * self.adapter.learning_rate_factor * self.model.learning_rate_factor

    def components(self) -> Iterator[tuple[str, Component]]:
        """Every component of the run with its path in the config."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Component):
                yield item.name, value
            elif isinstance(value, dict):
                yield from ((f"{item.name}.{key}", part) for key, part in value.items())


def _reason(error: OmegaConfBaseException) -> str:
    """What OmegaConf says, or which environment variable is not set."""
    unset = re.search(r"Environment variable '([^']+)' not found", str(error))
    if unset:
        return f"the environment variable {unset[1]} is not set (${{oc.env:{unset[1]}}}); export it before the command"
    return str(error).splitlines()[0]


def _refuse_missing(config: DictConfig) -> None:
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"a value is needed for: {', '.join(missing)}")


def _refuse_literal_secrets(config: DictConfig, types: Mapping[str, str]) -> None:
    """A secret is named by its environment variable, so that no record can hold it."""
    for path in types:
        node = OmegaConf.select(config, path)
        for item in fields(OmegaConf.get_type(node)):  # type: ignore[arg-type]
            raw = node._get_node(item.name)
            value = raw._value() if raw is not None else None
            if item.metadata.get("secret") and value is not None and not str(value).startswith("${oc.env:"):
                raise ConfigError(f"{path}.{item.name}: a secret is never written down; use ${{oc.env:NAME}}")
