"""What the audit looks at."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tuneforge.audit.reading import Exchange, exchanges
from tuneforge.components import Context
from tuneforge.preparation.store import row_bytes
from tuneforge.rows import HeldOut, Row
from tuneforge.settings import Run

if TYPE_CHECKING:
    from tuneforge.audit.leaks import Leaks
    from tuneforge.preparation.intake import SourceReport

ROWS = 200_000
"""Training rows that are read by checks which count rows: a laptop's memory holds them twice."""
BYTES = 2**26
"""Of rows that lie on disk no more than this is held of them at once; in memory they take some four times as much."""


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
    def rows(self) -> Sequence[Row]:
        """At most ROWS training rows, held in memory: all of them, or a seeded sample, for cheap checks.

        Of rows on disk at most BYTES, by their mean size.
        """
        size = row_bytes(self.train)
        return self._drawn(min(ROWS, max(1, int(BYTES / size))) if size else ROWS)

    @cached_property
    def sample(self) -> Sequence[Row]:
        """At most `audit.sample` training rows, in order: all of them, or a seeded sample, for costly checks."""
        most = self.run.audit.sample
        return self.rows if len(self.rows) <= most else self._drawn(most)

    def _drawn(self, most: int) -> Sequence[Row]:
        if len(self.train) <= most:
            return list(self.train)
        picked = random.Random(self.run.seed).sample(range(len(self.train)), most)
        return [self.train[index] for index in sorted(picked)]

    @property
    def drawn(self) -> str:
        """` in a sample of 200,000 of 3,000,000 rows` where `rows` is not everything, for sentences; else empty."""
        return self._said(len(self.rows))

    @property
    def sampled(self) -> str:
        """The same of `sample`."""
        return self._said(len(self.sample))

    def _said(self, part: int) -> str:
        whole = len(self.train)
        return f" in a sample of {part:,} of {whole:,} rows" if part < whole else ""

    @cached_property
    def exchanges(self) -> Sequence[Exchange]:
        """What the model is asked and is to answer in `rows`."""
        return [found for row in self.rows for found in exchanges(row, self.run.strategy.record)]

    @cached_property
    def sampled_exchanges(self) -> Sequence[Exchange]:
        """The same of `sample`."""
        if self.sample is self.rows:
            return self.exchanges
        return [found for row in self.sample for found in exchanges(row, self.run.strategy.record)]
