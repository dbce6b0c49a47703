"""Implements a hook that does not exist."""

from tuneforge.hookspecs import hookimpl


@hookimpl
def tuneforge_strategi():
    """No such hook."""
    return []
