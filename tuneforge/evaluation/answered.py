"""What evaluators share that compare generated answers with references."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import Answer, Row, Stats


@dataclass(kw_only=True)
class AnswerEvaluator(Evaluator):
    """Judges greedy answers; how many were cut is said, because a cut answer is judged as it stands."""

    max_tokens: int = 256  # type: ignore[misc]
    """Most tokens of an answer; longer ones are cut, which is counted and said."""

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """Statistics of the answers of at most `max_tokens` tokens."""
        answers = lm.generate(rows, self.max_tokens)
        cut = sum(answer.finish == "length" and not answer.error for answer in answers)
        if cut:
            context.note(
                f"{type(self).name} of {lm.variant}: {cut:,} of {len(answers):,} answers were cut at"
                f" {self.max_tokens} tokens",
                cut=cut,
            )
        return self.judge(rows, answers, context)


def said(answer: Answer) -> str:
    """The text that is judged: nothing where the answer failed."""
    return "" if answer.error else answer.text
