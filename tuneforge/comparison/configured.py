"""The evaluators of a saved config, read by themselves: the rest may need what is not here, as a key or a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tuneforge import plugins
from tuneforge.components import Evaluator
from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.settings import Run


def measuring(folder: Path, names: Iterable[str]) -> tuple[Run, list[str]]:
    """Seed and those evaluators, as the run configured them or by default; in words those that cannot be had here."""
    config, types = _read(folder)
    run, notes = Run(seed=int(config.get("seed") or 0)), []
    components = plugins.load().components
    for name in dict.fromkeys(names):
        kind = components.get(types.get(f"evaluator.{name}", f"evaluator/{name}"))
        try:
            if kind is None:
                notes.append(f"{name}: is not installed; its numbers stand without differences")
            else:
                run.evaluator[name] = _evaluator(kind, (config.get("evaluator") or {}).get(name) or {})
        except OmegaConfBaseException as error:
            notes.append(f"evaluator.{name}: {str(error).splitlines()[0]}; its numbers stand without differences")
    return run, notes


def _evaluator(kind: type[Any], settings: Any) -> Evaluator:
    made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), settings))
    assert isinstance(made, Evaluator)
    return made


def _read(folder: Path) -> tuple[Any, dict[str, str]]:
    """config.yaml, unresolved, and types.json."""
    try:
        config = OmegaConf.load(folder / "config.yaml")
        return config, json.loads((folder / "types.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{folder}: has no {Path(error.filename).name}") from error
    except (OmegaConfBaseException, ValueError) as error:
        raise TuneForgeError(f"{folder}: the saved config is damaged: {str(error).splitlines()[0]}") from error
