"""Libraries that come only with an extra."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tuneforge.errors import ConfigError

if TYPE_CHECKING:
    from tuneforge.components import Component


def refuse_absent(components: Iterable[tuple[str, Component]]) -> None:
    """ConfigError with a line for each component, given with its path, whose library is not installed.

    Nothing is imported: it asks before a run begins.
    """
    absent = [
        _line(part.module, part.extra, f"{path.split('.')[0]}={part.name}")
        for path, part in components
        if part.module and find_spec(part.module) is None
    ]
    if absent:
        raise ConfigError("\n".join(absent))


def require(module: str, extra: str, what: str) -> None:
    """ConfigError with the one line that installs it, where the module is absent or too broken to be imported."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"{_line(module, extra, what)} ({error})") from error


def _line(module: str, extra: str, what: str) -> str:
    return f"{what} needs {module}: pip install 'tuneforge[{extra}]'"
