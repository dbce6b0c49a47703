"""The config of `tuneforge evaluate`: what a run among the paths was configured with, or what the command names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig, open_dict

from tuneforge import commands, plugins, record, saved
from tuneforge.composition import Composed, compose_evaluation
from tuneforge.errors import ConfigError

NAME_SETS = ("experiment", "data", "test")
"""Choices after which the sets are not those of the run."""
OF_RUN = ("strategy", "evaluator", "teacher")
"""What says how a run is measured."""
CHOSEN = ("validation", "evaluator", "+evaluator", "teacher", "+teacher")
"""Choices that change one part of the run's config."""


def measuring(paths: Sequence[str], overrides: Sequence[str], config_dirs: Sequence[str]) -> Composed:
    """The config of the first run among the paths with changed values, unless overrides name other sets.

    Only sets that the run's config or an override names are read; without either, the default job's test sets. Named
    sets are measured as the run was.
    """
    runs = [Path(p).expanduser() for p in paths if (Path(p).expanduser() / "run.json").is_file()]
    chosen = [_choice(override) for override in overrides]
    if runs and not set(chosen) & {*NAME_SETS}:
        return _of_run(runs[0], overrides, config_dirs)
    if not runs:
        return compose_evaluation(overrides, config_dirs)
    return _on_other_sets(runs[0], overrides, config_dirs)


def _choice(override: str) -> str:
    """`evaluator` of `evaluator=rouge`, `+evaluator` where it is added, `~evaluator` where removed; else nothing."""
    key, _, _ = override.partition("=")
    head = key.split("@")[0].split(".")[0] if key.startswith("~") or "@" in key else key
    return head if head.lstrip("+~") in plugins.GROUPS else ""


def _on_other_sets(folder: Path, overrides: Sequence[str], config_dirs: Sequence[str]) -> Composed:
    """Named sets under the strategy of the run, and under its evaluators and teachers unless others are chosen."""
    chosen = {_choice(override).lstrip("+~") for override in overrides}
    kept = [group for group in OF_RUN if group not in chosen]
    values = [o for o in overrides if o.split(".")[0] in kept]
    composed = compose_evaluation([o for o in overrides if o not in values], config_dirs)
    config, types = saved.load_config(folder)
    for group in kept:
        _take(composed, group, config, types)
    for evaluator in composed.config.evaluator.values():
        evaluator.sets = [name for name in evaluator.sets if name in composed.config.test]
    commands.apply(composed.config, values)
    return composed


def _of_run(folder: Path, overrides: Sequence[str], config_dirs: Sequence[str]) -> Composed:
    """The saved config with other values, evaluators, teachers or validation sets."""
    config, types = saved.load_config(folder)
    config.output_dir = None
    composed = Composed(config, dict(types), record.read_record(folder).get("choices", {}), list(overrides))
    chosen = {_choice(override) for override in overrides} - {""}
    for key in sorted(chosen - {*CHOSEN}):
        raise ConfigError(
            f"{key}=…: {folder} is evaluated as it was configured; name other sets with test=FILE, of the rest only"
            f" {', '.join(CHOSEN)} can be chosen"
        )
    groups = {key.lstrip("+") for key in chosen}
    own = [o for o in overrides if re.split("[.@=]", o.lstrip("+"))[0] in groups]
    other = compose_evaluation(own, config_dirs) if own else composed
    for group in groups:
        _take(composed, group, other.config, other.types, beside=f"+{group}" in chosen)
        composed.choices = {**composed.choices, group: [str(key) for key in composed.config[group]]}
    commands.apply(composed.config, [o for o in overrides if o not in own])
    return composed


def _take(
    composed: Composed, group: str, config: DictConfig, types: Mapping[str, str], *, beside: bool = False
) -> None:
    """Put a group of another config in place of this one's, or beside what is there."""
    with open_dict(composed.config):
        composed.config[group] = {**composed.config[group], **config[group]} if beside else config[group]
    kept = {path: name for path, name in composed.types.items() if beside or path.split(".")[0] != group}
    composed.types = kept | {path: name for path, name in types.items() if path.split(".")[0] == group}
