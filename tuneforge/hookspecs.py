"""Every hook of TuneForge. A plugin is a module (or object) named by an entry point in the group
`tuneforge`, whose functions, marked with `hookimpl`, bear these names.

Registration hooks are called once, when the catalogue loads, without arguments; each returns a list of
component classes. Their order never matters: the config selects by name. A name taken twice in one group
is an error that names both distributions. Modules that declare components must not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

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

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from tuneforge.settings import Run

hookspec = pluggy.HookspecMarker("tuneforge")
hookimpl = pluggy.HookimplMarker("tuneforge")

# ---------------------------------------------------------------- registration


@hookspec
def tuneforge_model() -> Sequence[type[Model]]:
    """Model loaders, chosen by `model=<name>`."""
    return ()


@hookspec
def tuneforge_data() -> Sequence[type[DataSource]]:
    """Data sources, chosen by `data=`, `validation=` and `test=`."""
    return ()


@hookspec
def tuneforge_transform() -> Sequence[type[Transform]]:
    """Transforms, chosen in order by `transform=[…]`."""
    return ()


@hookspec
def tuneforge_synthetic() -> Sequence[type[Generator]]:
    """Generators of rows, chosen by `synthetic=`."""
    return ()


@hookspec
def tuneforge_teacher() -> Sequence[type[Teacher]]:
    """Teachers, chosen by `teacher=`."""
    return ()


@hookspec
def tuneforge_strategy() -> Sequence[type[Strategy]]:
    """Objectives, chosen by `strategy=`."""
    return ()


@hookspec
def tuneforge_adapter() -> Sequence[type[Adapter]]:
    """What trains, chosen by `adapter=`."""
    return ()


@hookspec
def tuneforge_optimizer() -> Sequence[type[Optimizer]]:
    """Optimizers, chosen by `optimizer=`."""
    return ()


@hookspec
def tuneforge_scheduler() -> Sequence[type[Scheduler]]:
    """Learning-rate schedules, chosen by `scheduler=`."""
    return ()


@hookspec
def tuneforge_evaluator() -> Sequence[type[Evaluator]]:
    """Evaluators, chosen by `evaluator=`."""
    return ()


@hookspec
def tuneforge_program() -> Sequence[type[Program]]:
    """Programs, chosen by `program=`."""
    return ()


@hookspec
def tuneforge_logger() -> Sequence[type[Logger]]:
    """Loggers, chosen by `logger=`."""
    return ()


@hookspec
def tuneforge_exporter() -> Sequence[type[Exporter]]:
    """Exporters, chosen by `exporter=`."""
    return ()


@hookspec
def tuneforge_config_packages() -> Sequence[str]:
    """Importable packages with YAML files laid out by group, for example `["tuneforge_orpo.conf"]`.

    Called when the catalogue loads. The package is found, not imported. A YAML file that bears the name
    of another option in its group is an error.
    """
    return ()


# ---------------------------------------------------------------- run time


@hookspec
def tuneforge_callbacks(run: Run) -> Sequence[Callback]:
    """Lightning callbacks for this run, called once before training; appended after the core's own."""
    return ()


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """A run's directory and record exist; nothing has been read yet."""

    run: Run
    folder: Path


@dataclass(frozen=True, kw_only=True)
class StageFinished:
    """One step of the run is done: data, proof, baseline, train, evaluate or export."""

    run: Run
    folder: Path
    stage: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """The run ended. `status` is finished, refused, failed or preempted; `record` is run.json."""

    run: Run
    folder: Path
    status: str
    record: dict[str, Any]


@hookspec
def tuneforge_run_started(event: RunStarted) -> None:
    """Called once, before data is read. What a plugin raises here is noted and does not end the run."""


@hookspec
def tuneforge_stage_finished(event: StageFinished) -> None:
    """Called after each step of the run. What a plugin raises here is noted and does not end the run."""


@hookspec
def tuneforge_run_finished(event: RunFinished) -> None:
    """Called last, when the record is written. What a plugin raises here is noted and does not end the run."""
