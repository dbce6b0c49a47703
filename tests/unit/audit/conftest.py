"""What the audit looks at, made of rows written on the spot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tuneforge.adapter.full import Full
from tuneforge.audit.subject import Subject
from tuneforge.components import Strategy
from tuneforge.context import RunContext
from tuneforge.model.hf import Hf
from tuneforge.optimizer.adamw import AdamW
from tuneforge.rows import HeldOut, Row
from tuneforge.scheduler.constant import Constant
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft

Columns = Mapping[str, Any]
MakeSubject = Callable[..., Subject]


def rows_of(columns: Sequence[Columns], source: str = "data.train", file: str = "train.jsonl") -> list[Row]:
    return [Row(columns=c, source=source, file=file, line=n) for n, c in enumerate(columns, 1)]


@pytest.fixture
def make_subject(tmp_path: Path) -> MakeSubject:
    """The subject of training columns, and of evaluation sets as `{"test.name": columns}`."""

    def make(
        train: Sequence[Columns] | Sequence[Row],
        strategy: Strategy | None = None,
        sets: Mapping[str, Sequence[Columns]] | None = None,
        role: str = "target",
        **fields: Any,
    ) -> Subject:
        run = Run(
            model=Hf(path="unused"), strategy=strategy or Sft(), adapter=Full(), optimizer=AdamW(),
            scheduler=Constant(), **fields,
        )  # fmt: skip
        held_out = [
            HeldOut(key.split(".")[1], key.split(".")[0], role, rows_of(columns, key, f"{key}.jsonl"))
            for key, columns in (sets or {}).items()
        ]
        rows = [one if isinstance(one, Row) else rows_of([one])[0] for one in train]
        numbered = [r if r.line != 1 else Row(**{**vars(r), "line": n}) for n, r in enumerate(rows, 1)]
        return Subject(run, numbered, held_out, RunContext(run, tmp_path / "run"))

    return make
