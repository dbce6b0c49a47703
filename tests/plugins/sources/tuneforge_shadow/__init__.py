"""Ships a preset whose name is taken."""

from tuneforge.hookspecs import hookimpl


@hookimpl
def tuneforge_config_packages():
    """strategy/lora, a second time."""
    return ["tuneforge_shadow.conf"]
