"""Libraries that come only with an extra."""

from __future__ import annotations

import importlib

from tuneforge.errors import ConfigError


def require(module: str, extra: str, what: str) -> None:
    """ConfigError with the one line that installs it, where the module cannot be imported."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"{what} needs {module}: pip install 'tuneforge[{extra}]' ({error})") from error
