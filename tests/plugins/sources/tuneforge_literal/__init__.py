"""Has a field of a type that a config cannot hold."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tuneforge.components import Transform
from tuneforge.hookspecs import hookimpl


@dataclass(kw_only=True)
class Choosy(Transform):
    """An Enum would do."""

    name: ClassVar[str] = "choosy"
    side: Literal["left", "right"] = "left"
    """Which side."""

    def apply(self, rows, context):
        """All rows."""
        yield from rows


@hookimpl
def tuneforge_transform():
    """Unusable."""
    return [Choosy]
