"""Returns a class that is no dataclass, beside one that is."""

from dataclasses import dataclass
from typing import ClassVar

from tuneforge.components import Transform
from tuneforge.hookspecs import hookimpl


class Plain(Transform):
    """Lacks the decorator, so its field would be no field."""

    name: ClassVar[str] = "plain"
    factor: float = 1.0

    def apply(self, rows, context):
        """All rows."""
        yield from rows


@dataclass(kw_only=True)
class Sound(Transform):
    """Stands in the same distribution and works."""

    name: ClassVar[str] = "sound"

    def apply(self, rows, context):
        """All rows."""
        yield from rows


@hookimpl
def tuneforge_transform():
    """One of two can be used."""
    return [Plain, Sound]
