"""Rows of the real public sets, as a run reads them."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path

import tuneforge
from tests.unit.preparation.test_real_sets import SETS
from tuneforge.context import RunContext
from tuneforge.preparation.intake import read_source
from tuneforge.rows import Row


@cache
def real_rows(shared: Path, name: str) -> list[Row]:
    """All usable rows of a set of `SETS`."""
    path, strategy, source, _, _ = deepcopy(SETS[name])
    source.path = str(shared / "data" / path)
    run = tuneforge.compose([])
    run.strategy = strategy
    return list(read_source("real", "data", source, RunContext(run, Path("unused"))).rows)
