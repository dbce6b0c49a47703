"""How many sequences of characters answers share with references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.conversation import references
from tuneforge.evaluation.answered import AnswerEvaluator, said
from tuneforge.extras import require
from tuneforge.rows import Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.settings import Run

COUNTS = ("said", "reference", "right")
"""What sacrebleu counts of each order, in its order."""


@dataclass(kw_only=True)
class Chrf(AnswerEvaluator):
    """chrF of all answers together, from 0 to 100, each against the reference that is nearest; for any script.

    Popović (2015; chrF++: 2017), as sacrebleu computes it for a corpus: n-grams of up to six characters without white
    space, recall twice as heavy as precision. It is no mean over rows: intervals draw rows, and count again.
    """

    name: ClassVar[str] = "chrf"
    extra: ClassVar[str] = "metrics"
    module: ClassVar[str] = "sacrebleu"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("chrf", bounds=(0.0, 100.0)),)
    record: ClassVar[str] = "completion"

    word_order: int = 0
    """Also n-grams of up to so many words: 2 is chrF++."""

    def check(self, run: Run) -> Iterable[str]:
        """Orders that the metric knows."""
        yield from super().check(run)
        if not 0 <= self.word_order <= 4:
            yield f"word_order={self.word_order}: needs a number from 0 to 4; 2 is chrF++"

    def score(self, row: Row, answer: Answer) -> Stats:
        """n-grams `said`, in the `reference` and `right`, of each order. An answer with an error says nothing."""
        # What sacrebleu itself keeps of each row when it resamples; the published score does not hold it.
        counts = self._chrf._extract_corpus_statistics([said(answer)], [[text] for text in references(row.columns)])[0]
        return {f"{COUNTS[i % 3]}.{i // 3 + 1}": float(count) for i, count in enumerate(counts)}

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """sacrebleu's chrF of the sums."""
        sums = [int(stats[f"{name}.{n + 1}"].sum()) for n in range(self._chrf.order) for name in COUNTS]
        return {"chrf": float(self._chrf._compute_f_score(sums))}

    @cached_property
    def _chrf(self) -> Any:
        require("sacrebleu", "metrics", "evaluator=chrf")
        from sacrebleu.metrics import CHRF

        return CHRF(word_order=self.word_order)
