"""Run directories whose numbers are the real evaluators' on given answers; nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tuneforge import saved
from tuneforge.composition import Composed, compose_config
from tuneforge.evaluation.lm import row_key
from tuneforge.evaluation.measure import Cell, Measured, Place
from tuneforge.evaluation.samples import write_samples
from tuneforge.evaluation.tidy import rows as metric_rows
from tuneforge.rows import Answer, HeldOut, Row

Says = Callable[[int], str]


def rows(count: int = 40, name: str = "test", groups: int = 0) -> list[Row]:
    return [
        Row(columns={"prompt": f"{name} question {i}", "completion": f"answer {i}"}, file=f"{name}.jsonl", line=i,
            id=f"{name}{i}", group=f"g{i % groups}" if groups else "")
        for i in range(count)
    ]  # fmt: skip


def run(
    folder: Path,
    variants: Mapping[str, Says],
    *,
    sets: Mapping[str, Sequence[Row]] | None = None,
    overrides: Sequence[str] = (),
    record: Mapping[str, Any] | None = None,
) -> Path:
    """A directory with config, run.json, metrics.json and samples.jsonl; each variant says what its function says."""
    (folder / "logs").mkdir(parents=True)
    composed = _composed(tuple(overrides))
    saved.save(folder, composed)
    evaluators = dict(composed.run.evaluator)
    measured = Measured(evaluators=evaluators)
    for name, held in (sets or {"test": rows()}).items():
        place = Place("exact_match", "test", name)
        measured.sets["test", name] = HeldOut(name, "test", "target", held)
        measured.rows[place] = list(held)
        for variant, says in variants.items():
            answers = [Answer(says(i)) for i in range(len(held))]
            stats = [evaluators["exact_match"].score(r, a) for r, a in zip(held, answers, strict=True)]
            arrays = {k: np.array([s[k] for s in stats]) for k in stats[0]}
            measured.cells[place, variant] = Cell(arrays, [r.group or f"{i}" for i, r in enumerate(held)])
            measured.answers |= {(variant, row_key(r)): a for r, a in zip(held, answers, strict=True)}
    numbers = metric_rows(composed.run, measured)
    primary = next((r for r in numbers if r["versus"]), None)
    verdict = {"decision": "not proven", "reason": "as it is", "primary": primary, "budgets": [], "hints": []}
    (folder / "metrics.json").write_text(json.dumps({"schema": 1, "rows": numbers, "verdict": verdict}))
    write_samples(folder, measured)
    facts = {"run": {"name": folder.name}, "status": "finished", "command": "run", "versions": {"tuneforge": "0.1.0"},
             "data": {"rows": 90, "fingerprint": "abc", "sets": {}}, "seconds": {"all": 91.2},
             "training": {"steps": 20, "tokens": 38801, "seconds": 30.9}, "peak_memory_bytes": 2**30}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(facts | dict(record or {})))
    return folder


@cache
def _composed(overrides: tuple[str, ...]) -> Composed:
    return compose_config(["evaluator=[exact_match]", *overrides])


def right(until: int) -> Says:
    """Right on the first rows."""
    return lambda i: f"answer {i}" if i < until else f"<b>no idea</b> {i}"
