"""How many words have the right tag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import UNIT, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray


@dataclass(kw_only=True)
class TagAccuracy(Evaluator):
    """Share of all words whose predicted tag is the true one; where most words are outside of entities it is high."""

    name: ClassVar[str] = "tag_accuracy"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("tag_accuracy", bounds=UNIT),)
    record: ClassVar[str] = "tags"

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`right` and `words` per row."""
        pairs = zip(rows, lm.tag(rows), strict=True)
        return [
            {
                "right": float(sum(a == b for a, b in zip(row.columns["tags"], tags, strict=True))),
                "words": float(len(tags)),
            }
            for row, tags in pairs
        ]

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Right words of all rows, over all words."""
        return {"tag_accuracy": float(stats["right"].sum() / stats["words"].sum())}
