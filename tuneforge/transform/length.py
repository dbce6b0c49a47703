"""Drop rows that are too short or too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.rows import Kept, Rejected, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Length(Transform):
    """Keep rows within bounds, ends included: characters of the whole row, words of its prompt and answers.

    A word is what stands between whitespace. A row without a prompt or answer is not measured by its words;
    of several answers (chosen, rejected) each must be within the bounds.
    """

    name: ClassVar[str] = "length"

    min_characters: int | None = None
    """Fewest characters of the text, or of prompt and answer together."""
    max_characters: int | None = None
    """Most characters of the text, or of prompt and answer together."""
    min_prompt_words: int | None = None
    """Fewest words before the answer, system message included."""
    max_prompt_words: int | None = None
    """Most words before the answer, system message included."""
    min_answer_words: int | None = None
    """Fewest words of an answer."""
    max_answer_words: int | None = None
    """Most words of an answer."""

    def check(self, run: Run) -> Iterable[str]:
        """At least one bound, and no bounds that nothing satisfies."""
        if all(getattr(self, item.name) is None for item in fields(self)):
            yield f"no bound is set ({', '.join(item.name for item in fields(self))})"
        for what in ("characters", "prompt_words", "answer_words"):
            low, high = self._bounds(what)
            if low is not None and high is not None and low > high:
                yield f"min_{what}={low} is above max_{what}={high}"

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Rows within the bounds; the others Rejected with the length that was found."""
        for row in rows:
            problem = next(self._problems(row), "")
            yield Rejected(row, problem) if problem else row

    def _bounds(self, what: str) -> tuple[int | None, int | None]:
        return getattr(self, f"min_{what}"), getattr(self, f"max_{what}")

    def _problems(self, row: Row) -> Iterator[str]:
        for what, size in _sizes(row.columns):
            low, high = self._bounds(what)
            shown = what.replace("_", " ")
            if low is not None and size < low:
                yield f"too short: {size:,} {shown}, min_{what}={low}"
            if high is not None and size > high:
                yield f"too long: {size:,} {shown}, max_{what}={high}"


def _sizes(columns: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """(what, length) of everything that can be measured in a row."""
    from tuneforge.conversation import split

    if isinstance(columns.get("text"), str):
        yield "characters", len(columns["text"])
    for column in ("completion", "chosen", "rejected"):
        if parts := split(columns, column):
            prompt, answer = ([message["content"] for message in part] for part in parts)
            yield "characters", sum(map(len, prompt + answer))
            yield "prompt_words", sum(len(text.split()) for text in prompt)
            yield "answer_words", sum(len(text.split()) for text in answer)
