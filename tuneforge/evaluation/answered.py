"""What evaluators share that compare generated answers with references."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneforge.components import Evaluator
from tuneforge.rows import Answer

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class AnswerEvaluator(Evaluator):
    """Judges greedy answers. A cut answer is judged as it stands; how many were cut is said by who was asked."""

    max_tokens: int = 256  # type: ignore[misc]
    """Most tokens of an answer; longer ones are cut, which is counted and said."""

    def check(self, run: Run) -> Iterable[str]:
        """Room for an answer."""
        if self.max_tokens < 1:
            yield f"max_tokens={self.max_tokens}: needs at least 1"


def said(answer: Answer) -> str:
    """The text that is judged: nothing where the answer failed."""
    return "" if answer.error else answer.text
