"""The config groups: which base class each holds, and how many may be chosen."""

from __future__ import annotations

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

KINDS: dict[str, type[Component]] = {
    "model": Model,
    "data": DataSource,
    "transform": Transform,
    "synthetic": Generator,
    "teacher": Teacher,
    "strategy": Strategy,
    "adapter": Adapter,
    "optimizer": Optimizer,
    "scheduler": Scheduler,
    "evaluator": Evaluator,
    "program": Program,
    "logger": Logger,
    "exporter": Exporter,
}
"""Group in the config → base class that its components extend."""

HELD_OUT_GROUPS = ("validation", "test")
"""Groups that offer the same components and presets as `data`."""

SEVERAL = ("data", "validation", "test", "transform", "synthetic", "teacher", "evaluator", "logger", "exporter")
"""Groups in which several options may be chosen."""

REQUIRED_METHODS: dict[str, tuple[str, ...]] = {
    "model": ("config", "load"),
    "data": ("read",),
    "transform": ("apply",),
    "synthetic": ("generate",),
    "teacher": ("complete",),
    "strategy": ("encode", "loss"),
    "adapter": ("apply", "save", "load", "merge"),
    "optimizer": ("build",),
    "scheduler": ("build",),
    "evaluator": (),
    "program": ("stages",),
    "logger": ("build",),
    "exporter": ("export",),
}
"""Methods without which a class of the group is refused; an evaluator needs `score` or `measure`."""
