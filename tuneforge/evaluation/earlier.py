"""The tuned model of an earlier run beside this one: what a new version has to beat (`gate.against=RUN`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tuneforge.errors import ConfigError, nearest
from tuneforge.evaluation.figures import EARLIER
from tuneforge.evaluation.lm import row_key
from tuneforge.evaluation.measure import Cell, Measured, Place
from tuneforge.evaluation.samples import occurrences
from tuneforge.rows import Answer

COLUMNS = ("evaluator", "set", "split", "protocol", "versus")
"""What is read of a metric row."""
Scores = Mapping[str, float | None]
Samples = Mapping[tuple[str, str, int], tuple[Scores, str | None]]
"""(split.set, row key, its occurrence) → the tuned model's statistics and its answer."""


def joined(measured: Measured, path: str) -> Measured:
    """`measured` with the tuned model of the run in `path` as a further variant.

    ConfigError where the run has no such numbers, or where a place that both measured differs in rows, scoring or
    decoding: numbers of different protocols do not compare.
    """
    folder = Path(path).expanduser()
    metrics, samples = _metrics(folder, path), _samples(folder, path)
    known = {(r["evaluator"], r["set"], r["split"]): r["protocol"] for r in metrics["rows"] if r["model"] == "tuned"}
    cells: dict[tuple[Place, str], Cell] = {}
    for place in measured.rows:
        before = known.get((place.evaluator, place.set, place.split))
        if before is None or measured.evaluators[place.evaluator].pairwise:
            continue
        if before != measured.protocol(place):
            raise ConfigError(
                f"gate.against={path}: {place.evaluator} on {place.set} has another protocol there ({before}; here"
                f" {measured.protocol(place)}): {_apart(measured, place, samples)}; such numbers do not compare"
            )
        cells[place, EARLIER] = _cell(measured, place, samples, path)
    if not any(place.split == "test" and measured.sets[place.split, place.set].role == "target" for place, _ in cells):
        raise ConfigError(f"gate.against={path}: measured none of this run's target test sets")
    answers = {(EARLIER, key): Answer(text) for (_, key, _), (_, text) in samples.items() if text is not None}
    facts = {EARLIER: {"run": str(folder), "name": str(folder), **_prompt(metrics)}}
    return replace(
        measured,
        cells=measured.cells | cells,
        variants=measured.variants | facts,
        answers=measured.answers | answers,
    )


def _apart(measured: Measured, place: Place, samples: Samples) -> str:
    """What of the protocol differs, as far as the rows tell."""
    there = {(key, n) for name, key, n in samples if name == f"{place.split}.{place.set}"}
    here = set(occurrences(map(row_key, measured.rows[place])))
    if there == here:
        return "the same rows, but other settings, classes, kept columns, decoding or versions of what scores"
    both = len(there & here)
    return f"its rows are others ({len(there):,} there and {len(here):,} here, of which {both:,} are the same)"


def check(path: str) -> None:
    """ConfigError where `gate.against` is a path that holds no finished run with a tuned model's numbers.

    Asked of a run that is to train: one that has trained is evaluated and exported without the run that it had to beat.
    """
    folder = Path(path).expanduser()
    _metrics(folder, path)
    if not (folder / "samples.jsonl").is_file():
        raise ConfigError(f"gate.against={path}: holds no samples.jsonl, so nothing can be compared row by row")


def _metrics(folder: Path, path: str) -> dict[str, Any]:
    file = folder / "metrics.json"
    if not file.is_file():
        what = "holds no metrics.json: name a finished run" if folder.is_dir() else "there is no such run directory"
        near = "" if folder.is_dir() else nearest(path, ["base", "prompted", *_beside(folder)])
        raise ConfigError(f"gate.against={path}: {what}; base and prompted are the other choices.{near}")
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        tuned = [row for row in found["rows"] if row["model"] == "tuned" and {*COLUMNS} <= row.keys()]
    except ValueError as error:
        raise ConfigError(f"gate.against={path}: metrics.json is damaged: {error}") from error
    except (TypeError, KeyError) as error:
        raise ConfigError(f"gate.against={path}: metrics.json is not one that a run writes") from error
    if not tuned:
        raise ConfigError(f"gate.against={path}: the run has no numbers of a tuned model")
    return found


def _beside(folder: Path) -> list[str]:
    """Directories beside the one that there is not."""
    parent = folder.parent
    return [str(one) for one in parent.iterdir() if one.is_dir()] if parent.is_dir() else []


def _samples(folder: Path, path: str) -> Samples:
    found: dict[str, list[Mapping[str, Any]]] = {}
    with (folder / "samples.jsonl").open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                one = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"gate.against={path}: samples.jsonl:{number} is damaged: {error}") from error
            found.setdefault(f"{one['split']}.{one['set']}", []).append(one)
    return {
        (name, *here): (one["scores"].get("tuned") or {}, one["answers"].get("tuned"))
        for name, lines_of in found.items()
        for one, here in zip(lines_of, occurrences(one["id"] for one in lines_of), strict=True)
    }


def _cell(measured: Measured, place: Place, samples: Samples, path: str) -> Cell:
    """Statistics of the earlier model in the order of this run's rows."""
    mine = next(cell for (at, _), cell in measured.cells.items() if at == place)
    stats: dict[str, list[float | None]] = {name: [] for name in mine.stats}
    rows = measured.rows[place]
    for row, here in zip(rows, occurrences(map(row_key, rows)), strict=True):
        scores, _ = samples.get((f"{place.split}.{place.set}", *here), ({}, None))
        for name, values in stats.items():
            if f"{place.evaluator}.{name}" not in scores:
                raise ConfigError(f"gate.against={path}: has no {place.evaluator}.{name} of {row.place}")
            values.append(scores[f"{place.evaluator}.{name}"])
    return Cell({name: np.array(values, dtype=np.float64) for name, values in stats.items()}, mine.groups)


def _prompt(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What belongs to that run's tuned model: template and prompt."""
    facts = (metrics.get("variants") or {}).get("tuned") or {}
    return {name: facts[name] for name in ("template", "prompt") if name in facts}
