"""Runs made of real components around small files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tuneforge.adapter.full import Full
from tuneforge.components import Strategy
from tuneforge.context import RunContext
from tuneforge.model.hf import Hf
from tuneforge.optimizer.adamw import AdamW
from tuneforge.preparation.prepare import Prepared, prepare
from tuneforge.scheduler.constant import Constant
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft

Make = Callable[..., Run]
Prepare = Callable[..., Prepared]


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., str]:
    """Write rows as JSON Lines; the path of the file."""

    def write(name: str, rows: list[Mapping[str, Any]]) -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def make_run() -> Make:
    """A Run with the given groups and the smallest real components for the rest."""

    def make(strategy: Strategy | None = None, **groups: Any) -> Run:
        return Run(
            model=Hf(path="unused"),
            strategy=strategy or Sft(),
            adapter=Full(),
            optimizer=AdamW(),
            scheduler=Constant(),
            **groups,
        )

    return make


@pytest.fixture
def context_of(tmp_path: Path) -> Callable[[Run], RunContext]:
    """The context of a run whose directory is temporary."""
    return lambda run: RunContext(run, tmp_path / "run", tmp_path / "cache")


@pytest.fixture
def prepared(make_run: Make, context_of: Callable[[Run], RunContext]) -> Prepare:
    """`prepare` of a run with the given groups."""

    def go(strategy: Strategy | None = None, **groups: Any) -> Prepared:
        run = make_run(strategy, **groups)
        return prepare(run, context_of(run))

    return go
