"""What is held side by side: a run's tuned model, or a model of an `evaluate` folder, with what its directory says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.errors import ConfigError, TuneForgeError

if TYPE_CHECKING:
    from tuneforge.evaluation.measure import Place


@dataclass
class Contestant:
    """One model with its numbers and answers; without them `status` says why."""

    name: str
    folder: Path
    variant: str = "tuned"
    """Its name in its own metrics.json and samples.jsonl."""
    status: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """Its own metric rows, without differences."""
        return [r for r in self.metrics.get("rows") or [] if r["model"] == self.variant and not r["versus"]]

    def scored(self, place: Place) -> list[dict[str, Any]]:
        """The rows of the place that its evaluator scored; further rows of the set are another evaluator's."""
        here = [s for s in self.samples if (s["split"], s["set"]) == (place.split, place.set)]
        prefix = f"{place.evaluator}."
        return [s for s in here if any(name.startswith(prefix) for name in s["scores"].get(self.variant) or ())]

    @property
    def decision(self) -> str:
        """The verdict of its own run; empty for an evaluated model."""
        return str((self.metrics.get("verdict") or {}).get("decision") or "") if self.variant == "tuned" else ""


def contestants(paths: Sequence[str]) -> list[Contestant]:
    """Every model that the paths hold, named by the last parts of its path that tell it apart.

    A path is a run directory, a folder that `evaluate` wrote (all of its models), or the root of a grid (all of its
    points). ConfigError for anything else and for one that is named twice; TuneForgeError for a damaged file.
    """
    folders = [folder for path in paths for folder in _folders(path)]
    twice = next((f for i, f in enumerate(folders) if f in folders[:i]), None)
    if twice is not None:
        raise ConfigError(f"compare: {twice} is named twice")
    names = _names(folders)
    return [
        one for folder, name in zip(folders, names, strict=True) for one in read(folder, name, alone=len(folders) == 1)
    ]


def read(folder: Path, name: str, alone: bool = False) -> list[Contestant]:
    """The models of a directory; `alone` leaves the name of the folder out of theirs."""
    record = _object(folder / "run.json")
    metrics = _object(folder / "metrics.json")
    samples = _lines(folder / "samples.jsonl")
    models = list(dict.fromkeys(r["model"] for r in metrics.get("rows") or []))
    if record.get("command") == "evaluate" and models:
        named = {model: model if alone else f"{name}:{model}" for model in models}
        return [Contestant(named[m], folder, m, "", record, metrics, samples) for m in models]
    return [Contestant(name, folder, "tuned", _status(record, models), record, metrics, samples)]


def _status(record: Mapping[str, Any], models: Sequence[str]) -> str:
    """Why there is nothing to compare; empty: there is."""
    if "tuned" in models:
        return ""
    status, error = str(record.get("status") or "no run.json, see logs/output.txt"), str(record.get("error") or "")
    if status == "finished" and not error:
        error = "no test set was measured" if models or record.get("command") != "check" else "it was only checked"
    return f"{status}: {error}" if error else status


def _folders(path: str) -> Iterator[Path]:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"compare {path}: there is no such directory")
    folder = folder.resolve()
    if (folder / "run.json").is_file():
        if (folder / "program.json").is_file() or (folder / "stages").is_dir():
            raise ConfigError(f"compare {path}: a program; name its stages, as in {path}/stages/*")
        yield folder
    elif (folder / "comparison.json").is_file():
        points = [f for f in folder.iterdir() if (f / "config.yaml").is_file()]
        if not points:
            raise ConfigError(f"compare {path}: a comparison; name the runs that it compares")
        yield from sorted(points, key=lambda f: (len(f.name.split("-")[0]), f.name))
    else:
        raise ConfigError(f"compare {path}: holds no run.json; name a run, a grid or a folder that evaluate wrote")


def _names(folders: Sequence[Path]) -> list[str]:
    """The fewest last parts of each path by which it differs from every other."""

    def name(folder: Path, parts: int) -> str:
        return "/".join(folder.parts[-parts:])

    found = []
    for folder in folders:
        others = [other for other in folders if other != folder]
        parts = next(n for n in range(1, 99) if all(name(folder, n) != name(other, n) for other in others))
        found.append(name(folder, parts))
    return found


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise TuneForgeError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise TuneForgeError(f"{path} is damaged: it holds no object")
    return content


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    found = []
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            try:
                content = json.loads(line) if line.strip() else None
            except ValueError as error:
                raise TuneForgeError(f"{path}:{number} is damaged: {error}") from error
            if isinstance(content, dict):
                found.append(content)
    return found
