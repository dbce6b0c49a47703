"""How much worse a model is on rows unlike those that it trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.errors import ConfigError, nearest
from tuneforge.rows import UNIT, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Ood(Evaluator):
    """The score on rows inside of the training distribution less that on rows outside of it.

    A kept column says which domain a row is of (`field`, `inside`). Without one, the rows whose likest training row
    is the farthest are outside, a quarter by default: cosine of TF-IDF over words and pairs of words of the question.
    That is a split of this set by difficulty of its words, not a proof that any row is foreign. The gap is of
    different rows: part of it is that the rows outside may be harder for everybody, so compare it with the base's.
    """

    name: ClassVar[str] = "ood"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("gap", False), Metric("inside"), Metric("outside"))
    record: ClassVar[str] = "completion"

    evaluator: str = ""
    """What scores a row: a key of `evaluator`, or an installed one; empty: exact_match, or classification of texts."""
    inside: list[str] = field(default_factory=list)
    """Values of `field` for rows like those that trained; every other value is outside."""
    share: float = 0.25
    """Without a field: share of the rows that is outside, the least like any training row."""
    field: str = ""
    """Column, kept by `test.X.keep`, that says the domain; empty: by likeness to the training rows."""

    def __post_init__(self) -> None:
        self._split: dict[tuple[tuple[str, str], ...], list[bool]] = {}
        if not self.evaluator:  # then a row is right or wrong
            bounds = {"gap": (-1.0, 1.0), "inside": UNIT, "outside": UNIT}
            vars(self)["metrics"] = tuple(m._replace(bounds=bounds[m.name]) for m in type(self).metrics)

    def check(self, run: Run) -> Iterable[str]:
        """A field without values; a share that leaves a side empty; a scorer that scores no rows."""
        from tuneforge.evaluation.behaviour.named import scorer_problems

        if bool(self.field) != bool(self.inside):
            yield f"field={self.field}, inside={self.inside}: a field needs values that are inside, and these a field"
        if not 0 < self.share < 1:
            yield f"share={self.share}: must be above 0 and below 1"
        yield from scorer_problems(self, self.evaluator, run)

    def serves(self, columns: Mapping[str, Any]) -> bool:
        """Rows with an answer, or with a class."""
        from tuneforge.evaluation.behaviour.scoring import scorable

        return scorable(columns)

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`inside` and `outside`: the row's score on its side, no number on the other."""
        from math import nan

        from tuneforge.evaluation.behaviour.scoring import measured, scorer

        found = scorer(self, self.evaluator, rows, context)
        sides = self._inside(rows, context)
        given, _ = measured(self, found, lm, rows, context)
        return [
            {"inside": float(score) if side else nan, "outside": nan if side else float(score)}
            for score, side in zip(given, sides, strict=True)
        ]

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Means of both sides, and their difference; no number where a side has no rows."""
        from tuneforge.evaluation.behaviour.means import mean

        inside, outside = mean(stats["inside"]), mean(stats["outside"])
        return {"gap": inside - outside, "inside": inside, "outside": outside}

    def _inside(self, rows: Sequence[Row], context: Context) -> list[bool]:
        """Which rows are inside; told once per set, and the same for every variant."""
        from tuneforge.evaluation.behaviour.fields import told_apart

        key = told_apart(rows)
        if key not in self._split:
            self._split[key] = self._by_field(rows, context) if self.field else self._by_likeness(rows, context)
        return self._split[key]

    def _by_field(self, rows: Sequence[Row], context: Context) -> list[bool]:
        from tuneforge.evaluation.behaviour.fields import texts_of

        domains = [texts_of(row, self.field, self.name) for row in rows]
        found = [bool(set(one) & set(self.inside)) for one in domains]
        if all(found) or not any(found):
            known = sorted({value for one in domains for value in one})
            side = "inside" if all(found) else "outside"
            close = "" if all(found) else nearest(self.inside[0], known)
            text = f"ood: all {len(rows):,} rows are {side} ({self.field} is {', '.join(known[:8])}); there is no gap"
            context.note(f"{text}.{close}" if close else text, rows=len(rows))
        return found

    def _by_likeness(self, rows: Sequence[Row], context: Context) -> list[bool]:
        from tuneforge.evaluation.behaviour.likeness import farthest, nearest

        if not context.train:
            raise ConfigError("evaluator.ood: there are no training rows to be like; name a field that says the domain")
        cosines = nearest(rows, context.train, context.seed)
        outside = set(farthest(cosines, self.share))
        found = [place not in outside for place in range(len(rows))]
        means = [sum(c for c, side in zip(cosines, found, strict=True) if side is one) for one in (True, False)]
        like, unlike = means[0] / max(sum(found), 1), means[1] / max(len(outside), 1)
        context.note(
            f"ood: {len(outside):,} of {len(rows):,} rows are outside; the likest training row has a mean cosine of"
            f" {unlike:.2f}, against {like:.2f} inside",
            outside=len(outside),
        )
        return found
