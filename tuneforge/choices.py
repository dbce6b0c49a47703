"""Paths as choices: `data=train.jsonl` becomes an option of the group before Hydra composes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneforge.components import DataSource
from tuneforge.errors import ConfigError
from tuneforge.kinds import HELD_OUT_GROUPS
from tuneforge.plugins import Catalogue

PATH_GROUPS = ("model", "data", *HELD_OUT_GROUPS)
_OVERRIDE = re.compile(rf"^(?P<head>\+?(?:{'|'.join(PATH_GROUPS)})(?:@[^=]*)?)=(?P<value>.*)$", re.DOTALL)
_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|[^\[\](),]+")
_GRAMMAR_CALL = re.compile(r"^\s*\w+\(")


@dataclass(frozen=True)
class PathChoice:
    """An option made from a path: stored as `group/option`, its values under `package`."""

    group: str
    option: str
    package: str
    component: type
    path: str


@dataclass
class PathChoices:
    """The paths seen so far in one command; equal stems in one group are refused."""

    catalogue: Catalogue
    found: dict[tuple[str, str], PathChoice] = field(default_factory=dict)

    def in_override(self, override: str) -> str:
        """The override with each path in its value replaced by the option made for it."""
        match = _OVERRIDE.match(override)
        if not match or _GRAMMAR_CALL.match(match["value"]):
            return override
        group = match["head"].lstrip("+").split("@")[0]
        return f"{match['head']}={_TOKEN.sub(lambda t: self._replace(group, t[0]), match['value'])}"

    def in_defaults(self, defaults: list[Any]) -> list[Any]:
        """The same for the defaults list of a YAML file."""
        done = []
        for entry in defaults:
            if not isinstance(entry, dict):
                done.append(entry)
                continue
            done.append({key: self._in_default(key, value) for key, value in entry.items()})
        return done

    def _in_default(self, key: str, value: Any) -> Any:
        group = key.removeprefix("override ").strip().lstrip("/").split("@")[0]
        if group not in PATH_GROUPS:
            return value
        if isinstance(value, list):
            return [self._replace(group, v) if isinstance(v, str) else v for v in value]
        return self._replace(group, value) if isinstance(value, str) else value

    def _replace(self, group: str, token: str) -> str:
        text = token.strip()
        if text[:1] in "'\"" and text[-1:] == text[:1] and len(text) > 1:
            text = text[1:-1]
        if text in self.catalogue.options(group) or not self._is_path(group, text):
            return token
        choice = self._model(text) if group == "model" else self._source(group, text)
        known = self.found.setdefault((group, choice.option), choice)
        if known.path != choice.path:
            raise ConfigError(
                f"{group}: {known.path} and {choice.path} have the same stem, so the same key '{choice.package}'; "
                f"rename one, or add it under another key: +{group}@{group}.other=…"
            )
        return choice.option

    def _is_path(self, group: str, text: str) -> bool:
        if not text or text.startswith(("${", "$")):
            return False
        exists = Path(text).exists() if group == "model" else Path(text).is_file()
        return "/" in text or "." in text or text.startswith("~") or exists

    def _model(self, text: str) -> PathChoice:
        path = os.path.expanduser(text)
        if any((Path(path) / up / "types.json").is_file() for up in ("", "..")):
            path = os.path.realpath(path)  # outputs/latest will name the run that is about to begin
        return PathChoice("model", "path_model", "model", self.catalogue.component("model/hf"), path)

    def _suffixes(self) -> dict[str, type]:
        sources = [c for ref, c in sorted(self.catalogue.components.items()) if ref.startswith("data/")]
        return {f".{s}": c for c in sources if issubclass(c, DataSource) for s in c.suffixes}

    def _source(self, group: str, text: str) -> PathChoice:
        path = os.path.expanduser(text)
        name = Path(path).name
        bare = name[:-3] if name.lower().endswith(".gz") else name
        stem, suffix = os.path.splitext(bare)
        sources = self._suffixes()
        if suffix.lower() not in sources:
            known = ", ".join(sorted(sources))
            raise ConfigError(f"{group}={text}: no source reads '{suffix or name}' files; known suffixes: {known}")
        key = re.sub(r"\W", "_", stem)
        key = key if key.isidentifier() else f"_{key}"
        return PathChoice(group, f"path_{key}", f"{group}.{key}", sources[suffix.lower()], path)
