"""Ships a YAML file in a folder that is no group."""

from tuneforge.hookspecs import hookimpl


@hookimpl
def tuneforge_config_packages():
    """A misspelt folder."""
    return ["tuneforge_astray.conf"]
