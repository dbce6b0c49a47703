"""Imports torch when it is loaded, so every command waits for it."""

import torch  # noqa: F401

from tuneforge.hookspecs import hookimpl


@hookimpl
def tuneforge_strategy():
    """Nothing: what matters is the import above."""
    return []
