"""Whether an answer is as long as it should be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Evaluator
from tuneforge.rows import Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from tuneforge.settings import Run


class Unit(StrEnum):
    """What length is counted in."""

    tokens = "tokens"
    words = "words"
    characters = "characters"


@dataclass(kw_only=True)
class AnswerLength(Evaluator):
    """1 for an answer within bounds, 0 for another, falling gradually where `slack` allows.

    As a reward, `most` and `slack` are the soft overlong punishment of DAPO (arXiv:2503.14476, equation 13), raised
    by 1.
    """

    name: ClassVar[str] = "answer_length"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("answer_length"),)
    record: ClassVar[str] = "prompt"

    least: int = 1
    """Shortest answer that is right."""
    most: int | None = None
    """Longest answer that is right; null: any."""
    slack: int = 0
    """Beyond `most` the score falls linearly and is 0 at so much more; 0: at once."""
    unit: Unit = Unit.tokens
    """What length is counted in: tokens (of the model, without its stop token), words or characters."""

    def check(self, run: Run) -> Iterable[str]:
        """Bounds that no answer meets."""
        if self.least < 0 or self.slack < 0 or (self.most is not None and self.most < self.least):
            yield f"least={self.least}, most={self.most}, slack={self.slack}: needs 0 <= least <= most and slack >= 0"

    def score(self, row: Row, answer: Answer) -> Stats:
        """`answer_length` in [0, 1]. An answer with an error is 0."""
        length = self._length(answer)
        if answer.error or length < self.least:
            return {"answer_length": 0.0}
        over = 0 if self.most is None else max(length - self.most, 0)
        return {"answer_length": max(0.0, 1 - over / self.slack) if self.slack else float(not over)}

    def _length(self, answer: Answer) -> int:
        if self.unit is Unit.tokens:
            return answer.tokens
        return len(answer.text.split()) if self.unit is Unit.words else len(answer.text)
