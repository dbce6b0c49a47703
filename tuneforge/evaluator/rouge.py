"""How much of a reference an answer recalls, by words in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context
from tuneforge.conversation import references
from tuneforge.evaluation.answered import AnswerEvaluator, said
from tuneforge.extras import require
from tuneforge.rows import UNIT, Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

WORDS = re.compile("[a-z0-9]+")
LONGEST = 1000
"""Words of a text that rougeL and rougeLsum look at: the time they take grows with the product of both lengths."""


@dataclass(kw_only=True)
class Rouge(AnswerEvaluator):
    """ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum as F1 in [0, 1], each against the reference that is nearest.

    Lin, *ROUGE: A Package for Automatic Evaluation of Summaries* (2004), computed by rouge-score. Lsum takes each line
    for a sentence. A word is a run of a-z and 0-9, so that texts in other scripts have none and score 0: how many
    references have none is said.
    """

    name: ClassVar[str] = "rouge"
    extra: ClassVar[str] = "metrics"
    module: ClassVar[str] = "rouge_score"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("rouge1", bounds=UNIT),
        Metric("rouge2", bounds=UNIT),
        Metric("rougeL", bounds=UNIT),
        Metric("rougeLsum", bounds=UNIT),
    )
    record: ClassVar[str] = "completion"

    stemmer: bool = False
    """Compare words by their English stems (Porter)."""

    def score(self, row: Row, answer: Answer) -> Stats:
        """F1 of each kind. An answer with an error has none."""
        text, right = said(answer), references(row.columns)
        n_grams, in_order = self._scorers
        found = n_grams.score_multi(right, text) | in_order.score_multi([_first(one) for one in right], _first(text))
        return {kind: float(one.fmeasure) for kind, one in found.items()}

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """Each by itself; says which rows ROUGE cannot read, and how many are longer than it looks at."""
        silent = [row for row in rows if not any(WORDS.search(text.lower()) for text in references(row.columns))]
        if silent:
            context.note(
                f"rouge: {len(silent):,} of {len(rows):,} rows score 0, because their references hold no a-z and no"
                f" 0-9, as {silent[0].place}: evaluator=chrf reads every script"
            )
        pairs = zip(rows, answers, strict=True)
        long = sum(any(_is_long(text) for text in (said(answer), *references(row.columns))) for row, answer in pairs)
        if long:
            context.note(f"rouge: of {long:,} rows rougeL and rougeLsum compare only the first {LONGEST:,} words")
        return map(self.score, rows, answers)

    @cached_property
    def _scorers(self) -> tuple[RougeScorer, RougeScorer]:
        """For n-grams, and for longest common subsequences."""
        require("rouge_score", "metrics", "evaluator=rouge")
        from rouge_score.rouge_scorer import RougeScorer

        return RougeScorer(["rouge1", "rouge2"], self.stemmer), RougeScorer(["rougeL", "rougeLsum"], self.stemmer)


def _first(text: str) -> str:
    """The text in lower case, up to the last word that is looked at."""
    lowered = text.lower()
    return lowered[: next((word.start() for word in islice(WORDS.finditer(lowered), LONGEST, None)), None)]


def _is_long(text: str) -> bool:
    return len(text) > LONGEST and len(_first(text)) < len(text.lower())
