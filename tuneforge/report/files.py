"""What a run directory holds: every file may be absent, because a report exists however a run ends."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

MOST_SAMPLES = 20_000
MOST_QUARANTINED = 100


@dataclass
class RunFiles:
    """The files of a run, read; empty where they are absent, with a line in `damaged` where unreadable."""

    folder: Path
    record: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)
    program: dict[str, Any] = field(default_factory=dict)
    preview: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    """The first rows of it."""
    log: list[dict[str, float]] = field(default_factory=list)
    """Lines of the first log, numbers only."""
    config: str = ""
    damaged: list[str] = field(default_factory=list)


def read(folder: Path) -> RunFiles:
    """All files of the run that the report shows. Raises nothing for absent or damaged ones."""
    found = RunFiles(folder)
    found.record = _object(folder / "run.json", found)
    found.metrics = _object(folder / "metrics.json", found)
    found.audit = _object(folder / "data" / "audit.json", found)
    found.program = _object(folder / "program.json", found)
    found.preview = list(_lines(folder / "data" / "preview.jsonl", found, 200))
    found.samples = list(_lines(folder / "samples.jsonl", found, MOST_SAMPLES))
    found.quarantine = list(_lines(folder / "data" / "quarantine.jsonl", found, MOST_QUARANTINED))
    logs = sorted((folder / "logs").glob("*.csv")) if (folder / "logs").is_dir() else []
    found.log = _log(logs[0], found) if logs else []
    found.config = _text(folder / "config.yaml", found)
    return found


def _text(path: Path, found: RunFiles) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        found.damaged.append(f"{path.name}: {error.strerror}")
        return ""


def _object(path: Path, found: RunFiles) -> dict[str, Any]:
    text = _text(path, found)
    try:
        content = json.loads(text) if text else {}
    except ValueError as error:
        found.damaged.append(f"{path.name}: {error}")
        return {}
    return content if isinstance(content, dict) else {}


def _lines(path: Path, found: RunFiles, most: int) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(islice(_text(path, found).split("\n"), most), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError as error:
            found.damaged.append(f"{path.name}:{number}: {error}")
            continue
        if isinstance(content, dict):
            yield content


def _log(path: Path, found: RunFiles) -> list[dict[str, float]]:
    rows = csv.DictReader(_text(path, found).splitlines())
    return [{k: x for k, v in row.items() if k and (x := _number(v)) is not None} for row in rows]


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
