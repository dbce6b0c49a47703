"""What the audit looks at."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tuneforge.components import Context
from tuneforge.rows import HeldOut, Row
from tuneforge.settings import Run

if TYPE_CHECKING:
    from tuneforge.audit.leaks import Leaks


@dataclass(frozen=True)
class Subject:
    """The rows of a run after its transforms."""

    run: Run
    train: Sequence[Row]
    """Training rows, each once whatever its weight."""
    held_out: Sequence[HeldOut]
    context: Context

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
