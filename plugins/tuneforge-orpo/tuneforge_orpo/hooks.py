"""What this distribution adds to TuneForge; named by its entry point."""

from __future__ import annotations

from tuneforge.components import Strategy
from tuneforge.hookspecs import hookimpl


@hookimpl
def tuneforge_strategy() -> list[type[Strategy]]:
    """orpo."""
    from tuneforge_orpo.orpo import Orpo

    return [Orpo]


@hookimpl
def tuneforge_config_packages() -> list[str]:
    """strategy/orpo_lora."""
    return ["tuneforge_orpo.conf"]
