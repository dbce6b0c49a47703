"""What all tests share: the real data and models beside the checkout, and silence about progress."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers are as many as the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets and models; the test is skipped, saying so, where it is absent."""
    if not (SHARED / "data" / "INDEX.md").is_file():
        pytest.skip("needs the real data sets and models in ../shared")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["TUNEFORGE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
