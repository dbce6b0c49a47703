"""What components may ask of the run that they serve."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from tuneforge.components import Evaluator, Model, Teacher
from tuneforge.errors import ConfigError, nearest, printable
from tuneforge.rows import HeldOut, Loaded, Row
from tuneforge.settings import Run

T = TypeVar("T")


def default_cache() -> Path:
    """`$TUNEFORGE_CACHE`, else `~/.cache/tuneforge`."""
    return Path(os.environ.get("TUNEFORGE_CACHE") or Path.home() / ".cache" / "tuneforge")


def _named(kind: str, components: Mapping[str, T], name: str) -> T:
    if name not in components:
        known = ", ".join(sorted(components)) or "none is configured"
        raise ConfigError(f"no {kind} '{name}' in this config ({known}).{nearest(name, components)}")
    return components[name]


def _keys(part: Any, value: str, at: str = "") -> Iterator[str]:
    """Where the value stands below a part of the config."""
    if isinstance(part, dict):
        for key, below in part.items():
            yield from _keys(below, value, f"{at}.{key}" if at else key)
    elif is_dataclass(part) and not isinstance(part, type):
        yield from _keys({item.name: getattr(part, item.name) for item in fields(part)}, value, at)
    elif part == value:
        yield at


@dataclass
class RunContext:
    """The `Context` of one run."""

    run: Run
    folder: Path
    cache: Path = field(default_factory=default_cache)
    labels: Sequence[str] = ()
    notes: list[dict[str, Any]] = field(default_factory=list)
    whole: bool = False
    """A model that is loaded must bring all its weights: nobody will train new ones."""
    train: Sequence[Row] = ()
    """The rows that train, after all transforms."""
    held_out: Sequence[HeldOut] = ()
    """The validation and test sets."""
    counts: Counter[str] = field(default_factory=Counter)
    """Counters that the report of the transform at hand shows."""
    spent: dict[str, dict[str, float]] = field(default_factory=dict)
    """Per key of a teacher what it was asked and took: requests, tokens, US dollars."""
    _others: dict[tuple[str, str], Loaded] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """Seed of every random choice."""
        return self.run.seed

    def teacher(self, name: str) -> Teacher:
        """The configured teacher of that key."""
        return _named("teacher", self.run.teacher, name)

    def model(self, path: str) -> Model:
        """A model component for a folder, a run or a hub name, or the name of an installed one."""
        from tuneforge import plugins

        catalogue = plugins.load()
        installed = catalogue.components.get(f"model/{path}")
        found: Any = installed() if installed else catalogue.component("model/hf")(path=path)  # type: ignore[call-arg]
        return cast("Model", found)

    def frozen(self, path: str, head: str = "causal_lm") -> Loaded:
        """Another model in eval mode, without gradients, loaded once."""
        if (path, head) not in self._others:
            try:
                loaded = self.model(path).load(head, replace(self, whole=True))
            except ConfigError as error:
                raise ConfigError(self._in_place(str(error), path)) from error
            loaded.model.eval().requires_grad_(False)
            self._others[path, head] = loaded
        return self._others[path, head]

    def _in_place(self, text: str, path: str) -> str:
        """What a model says of itself, by the keys of the config that name it."""
        parts = {item.name: getattr(self.run, item.name) for item in fields(self.run) if item.name != "model"}
        key = ", ".join(_keys(parts, path))
        if not key:
            return text
        said = text.replace(f"model.path={path}", f"{key}={path}").replace("model=hf:", f"{key}={path}:")
        return said if said != text else f"{key}={text.removeprefix('model.path=')}"

    @property
    def others(self) -> Sequence[Loaded]:
        """The models that `frozen` has loaded."""
        return list(self._others.values())

    def evaluator(self, name: str) -> Evaluator:
        """The configured evaluator of that key, else the installed one of that name with its defaults."""
        from tuneforge import plugins

        installed = plugins.load().components.get(f"evaluator/{name}")
        if name in self.run.evaluator or installed is None:
            return _named("evaluator", self.run.evaluator, name)
        return cast("Evaluator", installed())

    def note(self, text: str, **numbers: float) -> None:
        """Say something that the user must see: terminal, run.json and report."""
        self.notes.append({"text": text, **numbers})
        sys.stdout.write(f"  note       {printable(text)}\n")

    def progress(self, items: Iterable[T], text: str) -> Iterator[T]:
        """Iterate with a progress bar on a terminal, silently elsewhere."""
        if not sys.stdout.isatty():
            yield from items
            return
        from rich.progress import track

        yield from track(items, description=f"  {text}", transient=True)
