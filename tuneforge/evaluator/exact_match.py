"""Whether the generated answer is the reference, character by character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.conversation import answer_text
from tuneforge.rows import Answer, Metric, Row, Stats

LONG = 64
"""Words in the median reference from which two right answers are rarely the same text."""
SLACK = 8


@dataclass(kw_only=True)
class ExactMatch(Evaluator):
    """Greedy answers that equal the reference, surrounding whitespace aside.

    The reference is the completion, or the last assistant turn of a conversation.
    """

    name: ClassVar[str] = "exact_match"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("exact_match"),)
    record: ClassVar[str] = "completion"

    normalise: bool = False
    """Ignore case, and how whitespace is written."""

    def unsuited(self, rows: Sequence[Row]) -> str:
        """References too long to be matched."""
        words = median(len(answer_text(row.columns).split()) for row in rows)
        return f"the median reference has {words:.0f} words, too long to match exactly" if words > LONG else ""

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """1 or 0 per row. No answer is cut that could still be right: a token holds at least a byte."""
        longest = max((len(answer_text(row.columns).encode()) for row in rows), default=0)
        return map(self.score, rows, lm.generate(rows, min(self.max_tokens, longest + SLACK)))

    def score(self, row: Row, answer: Answer) -> Stats:
        """`exact_match`: 1 where the texts are equal. An answer with an error is wrong."""
        equal = self._form(answer.text) == self._form(answer_text(row.columns))
        return {"exact_match": float(equal and not answer.error)}

    def _form(self, text: str) -> str:
        return " ".join(text.split()).casefold() if self.normalise else text.strip()
