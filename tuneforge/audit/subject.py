"""What the audit looks at."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tuneforge.audit.reading import Exchange, exchanges
from tuneforge.components import Context
from tuneforge.rows import HeldOut, Row
from tuneforge.settings import Run

if TYPE_CHECKING:
    from tuneforge.audit.leaks import Leaks
    from tuneforge.preparation.intake import SourceReport


@dataclass(frozen=True)
class Subject:
    """The rows of a run after its transforms."""

    run: Run
    train: Sequence[Row]
    """Training rows, each once whatever its weight."""
    held_out: Sequence[HeldOut]
    context: Context
    sources: Sequence[SourceReport] = ()
    """What became of the rows of each source."""

    @cached_property
    def leaks(self) -> Leaks:
        """Held-out rows that stand in training, for the checks that judge them."""
        from tuneforge.audit.leaks import leaks

        return leaks(self.train, self.held_out, self.run.seed)

    @cached_property
    def sample(self) -> Sequence[Row]:
        """At most `audit.sample` training rows, in order: all of them, or a seeded sample, for costly checks."""
        if len(self.train) <= self.run.audit.sample:
            return self.train
        picked = random.Random(self.run.seed).sample(range(len(self.train)), self.run.audit.sample)
        return [self.train[index] for index in sorted(picked)]

    @cached_property
    def sampled(self) -> str:
        """` in a sample of 20,000 of 100,000 rows` where `sample` is not everything, for sentences; else empty."""
        whole, part = len(self.train), len(self.sample)
        return f" in a sample of {part:,} of {whole:,} rows" if part < whole else ""

    @cached_property
    def exchanges(self) -> Sequence[Exchange]:
        """What the model is asked and is to answer in every training row."""
        return [found for row in self.train for found in exchanges(row, self.run.strategy.record)]

    @cached_property
    def sampled_exchanges(self) -> Sequence[Exchange]:
        """The exchanges of `sample`."""
        if self.sample is self.train:
            return self.exchanges
        kept = {id(row) for row in self.sample}
        return [one for one in self.exchanges if id(one.row) in kept]
