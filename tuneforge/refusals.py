"""What Hydra would merge, invent or execute without a word, refused before it composes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from tuneforge.complaints import ROOT_KEYS, unknown_key, unknown_option
from tuneforge.errors import ConfigError
from tuneforge.kinds import SEVERAL
from tuneforge.plugins import GROUPS, Catalogue


def refuse_overrides(parsed: Sequence[Override], catalogue: Catalogue, folders: Sequence[Path]) -> None:
    """What Hydra would merge, invent or execute without a word."""
    for override in parsed:
        text, key = override.input_line or "", override.key_or_group
        if "_target_" in text:
            raise ConfigError(f"{text}: '_target_' is refused; a config can only name installed components")
        root = key.split(".")[0]
        if root == "hydra":
            raise ConfigError(f"{key}: Hydra's own settings are not used here; see --config-dir and -m")
        if root not in ROOT_KEYS and root not in GROUPS:
            raise unknown_key(key, sorted({*ROOT_KEYS, *GROUPS}), catalogue)
        if key in GROUPS and not override.is_delete() and not override.is_sweep_override():
            refuse_choice(key, override.value(), catalogue, folders)


def refuse_choice(group: str, value: Any, catalogue: Catalogue, folders: Sequence[Path]) -> None:
    if isinstance(value, list) and group not in SEVERAL:
        raise ConfigError(f"{group}={value}: choose one; several {group} would be merged into one without a word")
    options = {*catalogue.options(group), *(p.stem for f in folders for p in f.glob(f"{group}/*.yaml"))}
    for option in value if isinstance(value, list) else [value]:
        if option is not None and str(option) not in options and not str(option).startswith("path_"):
            raise unknown_option(group, str(option), catalogue)


def user_folder(folder: Path, catalogue: Catalogue) -> Path:
    """A --config-dir, refused where a file in it bears the name of an installed option."""
    if not folder.is_dir():
        raise ConfigError(f"--config-dir {folder}: no such folder")
    for path in sorted(folder.glob("*/*.yaml")):
        reference = f"{path.parent.name}/{path.stem}"
        if reference in catalogue.owners:
            raise ConfigError(f"{path}: '{reference}' is shipped by {catalogue.owners[reference]}; rename the file")
    return folder.resolve()
