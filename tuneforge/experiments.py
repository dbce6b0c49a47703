"""The experiment in force: a user's YAML file, a named one, or the default job."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override, OverrideType

from tuneforge.choices import PathChoices
from tuneforge.complaints import ROOT_KEYS, unknown_key
from tuneforge.errors import ConfigError, nearest
from tuneforge.kinds import HELD_OUT_GROUPS
from tuneforge.plugins import GROUPS, Catalogue
from tuneforge.refusals import refuse_choice

DEFAULT_JOB = "helpdesk"
"""The experiment that runs when the command names no data, file or experiment."""


def job(
    arguments: list[str],
    parsed: Sequence[Override],
    file: str | Path | None,
    paths: PathChoices,
    catalogue: Catalogue,
    folders: Sequence[Path],
    store: ConfigStore,
    trains: bool = True,
) -> tuple[list[str], list[str]]:
    """The experiment in force: the user's file, the one named, or the default job while no data is named.

    Where nothing is trained, the default job brings its test sets alone, and only while none is named.
    """
    named = [o for o in parsed if o.key_or_group == "experiment"]
    if file is not None:
        if named:
            raise ConfigError(f"{file} and {named[0].input_line}: name one of them; a file is used as the experiment")
        option = _store_yaml(store, Path(file), paths)
        return [f"experiment={option}", *arguments], []
    if named:
        return _named_experiment(arguments, named[-1], paths, catalogue, folders, store), []
    if any(o.key_or_group == "data" and (o.type is OverrideType.CHANGE or not trains) for o in parsed):
        untouched = [g for g in HELD_OUT_GROUPS if g not in {o.key_or_group for o in parsed}]
        return arguments, [f"{g}=share" for g in untouched]
    if trains:
        return [f"experiment={DEFAULT_JOB}", *arguments], []
    without = [f"{g}=[]" for g in ("data", "validation") if g not in {o.key_or_group for o in parsed}]
    tests = any(o.key_or_group == "test" and o.type is OverrideType.CHANGE for o in parsed)
    return [*([] if tests else [f"experiment={DEFAULT_JOB}"]), *without, *arguments], []


def _named_experiment(
    arguments: list[str],
    override: Override,
    paths: PathChoices,
    catalogue: Catalogue,
    folders: Sequence[Path],
    store: ConfigStore,
) -> list[str]:
    """An experiment whose defaults name paths is stored with those paths as options."""
    name = str(override.value())
    files = [f / "experiment" / f"{name}.yaml" for f in (*catalogue.config_dirs, *folders)]
    path = next((f for f in files if f.is_file()), None)
    if path is None:
        return arguments
    defaults = _read_yaml(path).get("defaults") or []
    if paths.in_defaults(defaults) == defaults:
        return arguments
    option = _store_yaml(store, path, paths)
    return [f"experiment={option}" if a == override.input_line else a for a in arguments]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a config file holds key: value pairs, found {type(content).__name__}")
    return content


def _store_yaml(store: ConfigStore, path: Path, paths: PathChoices) -> str:
    """Store a YAML file as an experiment with its path choices resolved; returns the option's name."""
    if not path.is_file():
        known = [str(p) for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise ConfigError(f"{path}: no such file.{nearest(str(path), known)}")
    content = _read_yaml(path)
    if "_target_" in path.read_text(encoding="utf-8"):
        raise ConfigError(f"{path}: '_target_' is refused; a config can only name installed components")
    stray = [k for k in content if k not in ROOT_KEYS and k not in GROUPS and k != "defaults"]
    if stray:
        raise unknown_key(str(stray[0]), sorted({*ROOT_KEYS, *GROUPS}), paths.catalogue, f"{path}: ")
    defaults = paths.in_defaults(content.get("defaults") or [])
    for entry in defaults:
        for key, value in entry.items() if isinstance(entry, dict) else ():
            group = key.removeprefix("override ").strip().lstrip("/").split("@")[0]
            if group in GROUPS and value is not None:
                refuse_choice(group, value, paths.catalogue, ())
    option = f"path_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}"
    node = {**content, "defaults": [*defaults, *([] if "_self_" in defaults else ["_self_"])]}
    store.store(group="experiment", name=option, node=node, package="_global_", provider=str(path))
    return option
