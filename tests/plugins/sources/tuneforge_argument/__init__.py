"""Asks a hook for an argument that it does not get."""

from tuneforge.hookspecs import hookimpl


@hookimpl
def tuneforge_callbacks(run, trainer):
    """`trainer` is not among the arguments."""
    return []
