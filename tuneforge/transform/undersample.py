"""Leave out rows of frequent classes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.preparation.additions import By, by_class, count, require_classes, size_wanted, wrong_size
from tuneforge.rows import Kept, Rejected, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Undersample(Transform):
    """Rows of frequent classes are left out, by a draw with the run's seed.

    Rows without a label (group, task) stay, and are counted. Evaluation sets are never touched.
    """

    name: ClassVar[str] = "undersample"

    by: By = By.label
    """What is evened out: label (of several labels the rarest), group or task."""
    to: str = "smallest"
    """Rows that each class keeps: smallest, median, a number, or a ratio: 0.5 keeps twice the smallest class."""

    def check(self, run: Run) -> Iterable[str]:
        """A size that is one."""
        yield from wrong_size(self.name, self.to, ("smallest", "median"))

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """The rows in order, those above the size of their class Rejected. ConfigError where no row has a class."""
        given = list(rows)
        classes = by_class(given, self.by)
        require_classes(self.name, self.by, classes, given)
        sizes = [len(places) for places in classes.values()]
        wanted = size_wanted(self.to, sizes, over=False) if sizes else 0
        left_out: dict[int, str] = {}
        became: dict[str, tuple[int, int]] = {}
        for name, places in sorted(classes.items()):
            kept = min(wanted, len(places))
            draw = random.Random(f"{context.seed}:{self.name}:{name}")
            gone = draw.sample(places, len(places) - kept)
            left_out |= dict.fromkeys(gone, f"undersampled: {kept:,} of {len(places):,} rows of '{name}' are kept")
            became[name] = len(places), kept
        if became:
            count(context, self.name, became, len(given) - sum(sizes), self.by)
        for place, row in enumerate(given):
            yield Rejected(row, left_out[place]) if place in left_out else row
