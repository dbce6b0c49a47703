"""Repeat rows of rare classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.preparation.additions import (
    By,
    Places,
    by_class,
    count,
    dropped_behind,
    repeats,
    require_classes,
    size_wanted,
    wrong_size,
)
from tuneforge.rows import Kept, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Oversample(Transform):
    """Rows of rare classes stand in the training data several times.

    A copy keeps where it comes from: of the row at `train.csv:12` it stands at `12+1`. Which rows are copied once more
    than others is drawn with the run's seed. Rows without a label (group, task) stay as they are, and are counted.
    Evaluation sets are never touched, and a share that is cut for evaluation is cut before.
    """

    name: ClassVar[str] = "oversample"

    by: By = By.label
    """What is evened out: label (of several labels the rarest), group or task."""
    to: str = "largest"
    """Rows that each class is to have: largest, median, a number, or a ratio such as 0.5 to the largest class."""
    max_repeats: int | None = 10
    """How often a row stands in the data at most, itself included; null: as often as it takes."""

    def check(self, run: Run) -> Iterable[str]:
        """A size that is one, and no transform behind it that would drop the copies."""
        yield from wrong_size(self.name, self.to, ("largest", "median"))
        if self.max_repeats is not None and self.max_repeats < 2:
            yield f"transform.{self.name}.max_repeats={self.max_repeats} must be at least 2, or null"
        yield from dropped_behind(self, run, ("exact_dedup", "near_dedup", "semantic_dedup"))

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """The rows in order, each followed by its copies. ConfigError where no row has a class."""
        given = list(rows)
        classes = by_class(given, self.by)
        require_classes(self.name, self.by, classes, given)
        if not classes:
            return
        wanted = size_wanted(self.to, [len(places) for places in classes.values()], over=True)
        copies: dict[int, int] = {}
        sizes: dict[str, tuple[int, int]] = {}
        for name, places in sorted(classes.items()):
            size = max(wanted, len(places))
            if self.max_repeats is not None:
                size = min(size, len(places) * self.max_repeats)
            sizes[name] = len(places), size
            copies |= repeats(places, size, f"{context.seed}:{self.name}:{name}")
        count(context, self.name, sizes, len(given) - len(copies), self.by)
        if short := sum(size < wanted for _, size in sizes.values()):
            context.note(
                f"{self.name}: {short:,} of {len(classes):,} classes stay below {wanted:,} rows: a row stands in the"
                f" data at most {self.max_repeats} times (transform.{self.name}.max_repeats)"
            )
        yield from self._repeated(given, copies)

    def _repeated(self, given: list[Row], copies: dict[int, int]) -> Iterator[Row]:
        places = Places(given)
        for place, row in enumerate(given):
            yield row
            for _ in range(copies.get(place, 0)):
                yield places.made(row, "+")
