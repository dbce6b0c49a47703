"""Whether the generated answer is a reference, character by character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.conversation import answer_text, references
from tuneforge.evaluation.squad import normalised
from tuneforge.rows import Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from tuneforge.settings import Run

LONG = 64
"""Words in the median reference from which two right answers are rarely the same text."""
SLACK = 8


@dataclass(kw_only=True)
class ExactMatch(Evaluator):
    """Greedy answers that equal a reference, surrounding whitespace aside.

    The references are those of the column `references`, else the completion or the last assistant turn.
    """

    name: ClassVar[str] = "exact_match"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("exact_match"),)
    record: ClassVar[str] = "completion"

    normalise: bool = False
    """Ignore case, and how whitespace is written."""
    squad: bool = False
    """Ignore case, ASCII punctuation, a, an and the, as SQuAD does; then -5 equals 5."""

    def check(self, run: Run) -> Iterable[str]:
        """One form at a time."""
        if self.normalise and self.squad:
            yield "normalise=true, squad=true: squad ignores more than normalise; leave normalise=false"

    def unsuited(self, rows: Sequence[Row]) -> str:
        """References too long to be matched."""
        words = median(len(answer_text(row.columns).split()) for row in rows)
        return f"the median reference has {words:.0f} words, too long to match exactly" if words > LONG else ""

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """1 or 0 per row. No answer is cut that could still be right: a token holds at least a byte."""
        longest = max((len(text.encode()) for row in rows for text in references(row.columns)), default=0)
        limit = self.max_tokens if self.squad else min(self.max_tokens, longest + SLACK)
        return map(self.score, rows, lm.generate(rows, limit))

    def score(self, row: Row, answer: Answer) -> Stats:
        """`exact_match`: 1 where the text equals any reference. An answer with an error is wrong."""
        equal = self._form(answer.text) in map(self._form, references(row.columns))
        return {"exact_match": float(equal and not answer.error)}

    def _form(self, text: str) -> str:
        if self.squad:
            return normalised(text)
        return " ".join(text.split()).casefold() if self.normalise else text.strip()
