"""Reading one source, its rows and rejections apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tuneforge.adapter.full import Full
from tuneforge.components import DataSource
from tuneforge.context import RunContext
from tuneforge.model.hf import Hf
from tuneforge.optimizer.adamw import AdamW
from tuneforge.rows import Rejected, Row
from tuneforge.scheduler.constant import Constant
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft


@dataclass
class Read:
    """What a source yielded."""

    rows: list[Row] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)

    def columns(self, name: str) -> list[Any]:
        """One column of all rows."""
        return [row.columns[name] for row in self.rows]

    def reasons(self) -> dict[int | str, str]:
        """Line: reason of what was rejected."""
        return {item.row.line: item.reason for item in self.rejected}


Reader = Callable[[DataSource], Read]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Read a source to its end."""

    def go(source: DataSource) -> Read:
        run = Run(model=Hf(), strategy=Sft(), adapter=Full(), optimizer=AdamW(), scheduler=Constant())
        context = RunContext(run, tmp_path / "run", tmp_path / "cache")
        found = Read(notes=context.notes)
        for item in source.read(context):
            (found.rejected if isinstance(item, Rejected) else found.rows).append(item)
        return found

    return go
