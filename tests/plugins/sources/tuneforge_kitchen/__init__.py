"""Implements every hook; what it sees at run time it writes down beside the run."""

from __future__ import annotations

import json
from pathlib import Path

from tuneforge.hookspecs import RunFinished, RunStarted, StageFinished, hookimpl


def _write(folder: Path, **facts: object) -> None:
    with (folder / "kitchen.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")


@hookimpl
def tuneforge_model():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenModel

    return [KitchenModel]


@hookimpl
def tuneforge_data():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenData

    return [KitchenData]


@hookimpl
def tuneforge_transform():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenTransform

    return [KitchenTransform]


@hookimpl
def tuneforge_synthetic():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenGenerator

    return [KitchenGenerator]


@hookimpl
def tuneforge_teacher():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenTeacher

    return [KitchenTeacher]


@hookimpl
def tuneforge_strategy():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenStrategy

    return [KitchenStrategy]


@hookimpl
def tuneforge_adapter():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenAdapter

    return [KitchenAdapter]


@hookimpl
def tuneforge_optimizer():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenOptimizer

    return [KitchenOptimizer]


@hookimpl
def tuneforge_scheduler():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenScheduler

    return [KitchenScheduler]


@hookimpl
def tuneforge_evaluator():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenEvaluator

    return [KitchenEvaluator]


@hookimpl
def tuneforge_program():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenProgram

    return [KitchenProgram]


@hookimpl
def tuneforge_logger():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenLogger

    return [KitchenLogger]


@hookimpl
def tuneforge_exporter():
    """kitchen."""
    from tuneforge_kitchen.parts import KitchenExporter

    return [KitchenExporter]


@hookimpl
def tuneforge_config_packages():
    """experiment/kitchen."""
    return ["tuneforge_kitchen.conf"]


@hookimpl
def tuneforge_callbacks(run):
    """A callback that writes each batch down."""
    from tuneforge_kitchen.parts import counting_callback

    return [counting_callback(run)]


@hookimpl
def tuneforge_run_started(event: RunStarted):
    """Writes it down."""
    _write(event.folder, event="started", seed=event.run.seed, record=(event.folder / "run.json").is_file())


@hookimpl
def tuneforge_stage_finished(event: StageFinished):
    """Writes it down, and raises: a run is not its plugins' hostage."""
    _write(event.folder, event="stage", stage=event.stage, seconds=event.seconds)
    if event.stage == "data":
        raise ValueError("the kitchen is on fire")


@hookimpl
def tuneforge_run_finished(event: RunFinished):
    """Writes it down."""
    _write(event.folder, event="finished", status=event.status, verdict=event.record["verdict"]["decision"])
