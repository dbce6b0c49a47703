"""Paths as choices: `data=train.jsonl` becomes an option of the group before Hydra composes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
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
_TEMPLATE = re.compile(r"^(?P<key>\+{0,2}[\w@/.]+\.columns\.\w+)=(?P<text>(?!['\"]).*\{.*)$", re.DOTALL)
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
        """The override with each path in its value replaced by the option made for it, a template quoted."""
        override = quoted_template(override)
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
        return bool({"/", ".", "*", "?"} & set(text)) or text.startswith("~") or Path(text).exists()

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
        key = _key(path)
        return PathChoice(group, f"path_{key}", f"{group}.{key}", self._reader(group, text, path), path)

    def _reader(self, group: str, text: str, path: str) -> type:
        """The source that reads the file, or the files of a folder, a pattern or an archive."""
        from tuneforge.data.files import saved_by_datasets, suffix, suffixes_in

        if saved_by_datasets(path):
            return self.catalogue.component("data/hub")
        sources = self._suffixes()
        inside = suffixes_in(path)
        if inside is None:
            found = suffix(path)
            if f".{found}" not in sources:
                raise ConfigError(f"{group}={text}: {_unread(path, found, sources)}")
            return sources[f".{found}"]
        counts = {kind: count for kind, count in inside.items() if f".{kind}" in sources}
        kinds = {sources[f".{kind}"] for kind in counts}
        if len(kinds) != 1:
            raise ConfigError(f"{group}={text}: {_mixed(text, counts, inside, sources)}")
        return kinds.pop()


def quoted_template(override: str) -> str:
    """`data.x.columns.prompt={a} {b}` as Hydra's grammar takes it, which reads a brace as a dictionary."""
    match = _TEMPLATE.match(override)
    return override if match is None else "{}='{}'".format(match["key"], match["text"].replace("'", r"\'"))


def _key(path: str) -> str:
    """The key of a path: its stem made an identifier; of a pattern without one the folder's name."""
    named = [part for part in Path(os.path.abspath(path)).parts if re.search(r"\w", part.split(".")[0])]
    name = named[-1] if named else "data"
    bare = name[:-3] if name.lower().endswith(".gz") else name
    stem = os.path.splitext(bare)[0].removesuffix(".tar")
    key = re.sub(r"\W", "_", stem)
    key = key.strip("_") or key if {"*", "?", "["} & set(name) else key
    return key if key.isidentifier() else f"_{key}"


def _unread(path: str, suffix: str, sources: Mapping[str, type]) -> str:
    if not Path(path).exists() and re.fullmatch(r"[\w-]+/[\w.-]+", path):
        return f"there is no such path. A data set of the Hugging Face hub is data=hub data.hub.path={path}"
    what = f"'.{suffix}'" if suffix else f"'{Path(path).name}'"
    return f"no source reads {what} files; known suffixes: {', '.join(sorted(sources))}"


def _mixed(text: str, counts: Mapping[str, int], inside: Mapping[str, int], sources: Mapping[str, type]) -> str:
    """Why a folder, pattern or archive has no one source, and what to type instead."""
    if not inside:
        return "no file matches" if not Path(text).exists() else "there is no file in it"
    if not counts:
        seen = ", ".join(f"{count:,} {'.' + kind if kind else 'without suffix'}" for kind, count in inside.items())
        return f"no source reads what is in it ({seen}); known suffixes: {', '.join(sorted(sources))}"
    kinds = ", ".join(f"{count:,} .{kind}" for kind, count in counts.items())
    most = max(counts, key=lambda kind: counts[kind])
    name = getattr(sources[f".{most}"], "name", most)
    if Path(text).is_dir():
        return f"it holds files of several kinds ({kinds}); name one of them: '{text.rstrip('/')}/**/*.{most}'"
    return f"it holds files of several kinds ({kinds}); name the source to read: data={name} data.{name}.path={text}"
