"""The one door through which everything that executes enters: a saved config, read without Hydra."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tuneforge import plugins
from tuneforge.errors import ConfigError
from tuneforge.plugins import Catalogue
from tuneforge.settings import Run

if TYPE_CHECKING:
    from tuneforge.composition import Composed


def save(folder: Path, composed: Composed) -> None:
    """Write config.yaml (unresolved: secrets stay `${oc.env:NAME}`) and types.json."""
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(composed.config), encoding="utf-8")
    (folder / "types.json").write_text(json.dumps(composed.types, indent=1) + "\n", encoding="utf-8")


def load(folder: Path, catalogue: Catalogue | None = None) -> Run:
    """The typed run of a run directory."""
    config, types = load_config(folder, catalogue)
    return Run.from_config(config, types)


def load_config(folder: Path, catalogue: Catalogue | None = None) -> tuple[DictConfig, Mapping[str, str]]:
    """The config of a run directory with its components in place, and their paths."""
    catalogue = catalogue or plugins.load()
    catalogue.require_sound()
    for name in ("config.yaml", "types.json"):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} is no run directory: it has no {name}")
    try:
        raw = OmegaConf.load(folder / "config.yaml")
        types = json.loads((folder / "types.json").read_text(encoding="utf-8"))
        config = OmegaConf.structured(Run)
        for path, reference in types.items():
            node = OmegaConf.structured(catalogue.component(reference))
            OmegaConf.update(config, path, node, merge=False, force_add=True)
        return OmegaConf.merge(config, raw), types  # type: ignore[return-value]
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{folder}: the saved config cannot be read: {str(error).splitlines()[0]}") from error
