"""Brings a component whose name is taken."""

from dataclasses import dataclass
from typing import ClassVar

from tuneforge.components import Strategy
from tuneforge.hookspecs import hookimpl


@dataclass(kw_only=True)
class Dpo(Strategy):
    """Another strategy of the name dpo."""

    name: ClassVar[str] = "dpo"
    record: ClassVar[str] = "preference"

    def encode(self, rows, tokenizer, context):
        """Nothing."""
        yield from ()

    def loss(self, model, batch, step):
        """None."""
        raise NotImplementedError


@hookimpl
def tuneforge_strategy():
    """dpo, a second time."""
    return [Dpo]
