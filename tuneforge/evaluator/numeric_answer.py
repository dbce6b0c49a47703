"""Whether the number that an answer comes to is the right one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context
from tuneforge.conversation import references
from tuneforge.errors import ConfigError
from tuneforge.evaluation.answered import AnswerEvaluator, said
from tuneforge.evaluation.numbers import final_number
from tuneforge.rows import Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class NumericAnswer(AnswerEvaluator):
    """1 for an answer that comes to the reference's number, whatever is said on the way; 0 for another.

    The number after the last `####` (GSM8K, arXiv:2110.14168), in the last `\\boxed{}` (MATH, arXiv:2103.03874), or
    after the last *answer is*; else the last number of all. The reference is read in the same way. Thousands commas,
    signs, exponents and fractions are understood; currencies, units and % are ignored: 50 % is 50. `answered` is the
    share of answers with a number at all.
    """

    name: ClassVar[str] = "numeric_answer"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("numeric_answer"), Metric("answered"))
    record: ClassVar[str] = "completion"

    max_tokens: int = 512  # type: ignore[misc]
    """Most tokens of an answer, with its way to the number; longer ones are cut, which is counted and said."""
    tolerance: float = 1e-6
    """By how much the number may differ, as a share of the reference; 0: not at all."""

    def check(self, run: Run) -> Iterable[str]:
        """A share."""
        yield from super().check(run)
        if not 0 <= self.tolerance < 1:
            yield f"tolerance={self.tolerance}: needs a share of the reference, from 0 to below 1"

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """Each by itself. ConfigError for references without a number, with the first of their rows."""
        odd = [row for row in rows if not _right(row)]
        if odd:
            raise ConfigError(
                f"evaluator.numeric_answer: {len(odd):,} of {len(rows):,} references hold no number, as that of"
                f" {odd[0].place}: {references(odd[0].columns)[0][:60]!r}"
            )
        return map(self.score, rows, answers)

    def score(self, row: Row, answer: Answer) -> Stats:
        """`numeric_answer` and `answered`. An answer with an error is neither."""
        value = final_number(said(answer))
        near = value is not None and any(math.isclose(value, one, rel_tol=self.tolerance) for one in _right(row))
        return {"numeric_answer": float(near), "answered": float(value is not None)}


def _right(row: Row) -> list[float]:
    """The numbers of those references that have one."""
    return [value for text in references(row.columns) if (value := final_number(text)) is not None]
