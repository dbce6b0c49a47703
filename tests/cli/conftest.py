"""Real runs on the embedded model, cut short."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuneforge import cli

SHORT = (
    "trainer.max_steps=2",
    "batch.size=4",
    "data.helpdesk.limit=60",
    "data.replay.limit=30",
    "validation.helpdesk_validation.limit=12",
    "test.helpdesk_test.limit=12",
    "test.general_test.limit=12",
    "baseline.rows=8",
)
"""The default job in a few seconds."""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of one finished short run; tests only read it."""
    place = tmp_path_factory.mktemp("finished")
    before = Path.cwd()
    os.chdir(place)
    try:
        assert cli.main([*SHORT, "output_dir=run"]) == 0
        yield place / "run"
    finally:
        os.chdir(before)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
