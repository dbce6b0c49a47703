"""Returns a strategy without a loss, and a class of another kind."""

from dataclasses import dataclass
from typing import ClassVar

from tuneforge.components import Evaluator, Strategy
from tuneforge.hookspecs import hookimpl


@dataclass(kw_only=True)
class Hollow(Strategy):
    """Encodes and does no more."""

    name: ClassVar[str] = "hollow"
    record: ClassVar[str] = "text"

    def encode(self, rows, tokenizer, context):
        """Nothing."""
        yield from ()


@dataclass(kw_only=True)
class Mute(Evaluator):
    """Neither scores nor measures."""

    name: ClassVar[str] = "mute"
    metrics: ClassVar = ()


@hookimpl
def tuneforge_strategy():
    """Incomplete, and an evaluator among strategies."""
    return [Hollow, Mute]


@hookimpl
def tuneforge_evaluator():
    """Incomplete."""
    return [Mute]
