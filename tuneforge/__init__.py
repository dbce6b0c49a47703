"""TuneForge: adapt a language model to a job from one declarative config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "compose", "run"]

if TYPE_CHECKING:
    from tuneforge.commands import run
    from tuneforge.composition import compose
    from tuneforge.settings import Run

_HOMES = {"Run": "tuneforge.settings", "compose": "tuneforge.composition", "run": "tuneforge.commands"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tuneforge' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
