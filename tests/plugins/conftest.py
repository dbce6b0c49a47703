"""One workshop for all tests with wheels."""

from __future__ import annotations

import pytest

from tests.plugins.workshop import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Builds and installs wheels in a temporary folder."""
    return Workshop(tmp_path_factory.mktemp("workshop"))
