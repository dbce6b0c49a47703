"""Whether an answer has the form that was asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Evaluator
from tuneforge.rows import Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from tuneforge.settings import Run

SECONDS = 0.5
"""How long a pattern may search one answer."""


@dataclass(kw_only=True)
class AnswerFormat(Evaluator):
    """1 for an answer that is JSON, or that a regular expression matches from end to end; 0 for another.

    Surrounding white space is ignored. A pattern that searches an answer for more than half a second does not
    match it, which is counted and said: backtracking must not hold a training run.
    """

    name: ClassVar[str] = "answer_format"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("answer_format"),)
    record: ClassVar[str] = "prompt"

    pattern: str | None = None
    """A regular expression for the whole answer (`.` matches line breaks too); null: the answer is to be JSON."""
    keys: list[str] = field(default_factory=list)
    """Keys that the JSON object must have, and no others; empty: any JSON value."""

    def __post_init__(self) -> None:
        self._slow = 0

    def check(self, run: Run) -> Iterable[str]:
        """A pattern that is none; keys beside a pattern."""
        import regex

        if self.pattern is not None and self.keys:
            yield "pattern and keys exclude each other: keys are those of a JSON object"
        try:
            regex.compile(self.pattern or "")
        except regex.error as error:
            yield f"pattern={self.pattern}: no regular expression: {error}"

    def score(self, row: Row, answer: Answer) -> Stats:
        """`answer_format`: 1 where the form is right. An answer with an error is wrong."""
        right = self._matches(answer.text.strip()) if self.pattern is not None else self._is_json(answer.text)
        return {"answer_format": float(right and not answer.error)}

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """Each by itself; says once that a pattern was too slow."""
        before = self._slow
        found = [self.score(row, answer) for row, answer in zip(rows, answers, strict=True)]
        if self._slow and not before:
            context.note(
                f"answer_format: the pattern searched {self._slow} answers for {SECONDS} s in vain: simplify it"
            )
        return found

    def _matches(self, text: str) -> bool:
        import regex

        try:
            return regex.fullmatch(self.pattern or "", text, flags=regex.DOTALL, timeout=SECONDS) is not None
        except TimeoutError:
            self._slow += 1
            return False

    def _is_json(self, text: str) -> bool:
        try:
            value = json.loads(text, parse_constant=_refused)
        except (ValueError, RecursionError):
            return False
        return not self.keys or (isinstance(value, dict) and value.keys() == set(self.keys))


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
