"""Drop or fill what is missing, empty or cut off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from tuneforge.components import Context, Transform
from tuneforge.conversation import Passage, passages, rewritten
from tuneforge.rows import Kept, Rejected, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run


class Action(StrEnum):
    """What becomes of a row in which something is incomplete."""

    drop = "drop"
    fill = "fill"
    keep = "keep"


class _Found(NamedTuple):
    kind: str
    place: str
    detail: str


CANNOT = ("cut_off", "brackets", "continues")
"""Kinds for which nobody but the author knows what is missing."""


@dataclass(kw_only=True)
class Incomplete(Transform):
    """Drop rows with missing, empty or cut-off texts, fill what a rule can fill, or keep them counted.

    Rows whose prompt or answer is null or empty in the file are quarantined when they are read; this finds what stands
    in for a missing text, and what earlier transforms have emptied. Whether an answer is whole is judged of what
    assistants say and of documents, not of `rejected`, which may be worse for this very reason. Training rows
    only: a test does not become easier.
    """

    name: ClassVar[str] = "incomplete"

    missing: Action = Action.drop
    """Texts that are nothing but one of `placeholders`: drop, fill with `filling`, or keep and count."""
    placeholders: list[str] = field(
        default_factory=lambda: [
            "n/a", "nan", "tbd", "todo", "fixme", "placeholder", "lorem ipsum", "no answer", "[no answer]",
            "<no answer>", "[answer]", "<noinput>", "<nooutput>", "[deleted]", "[removed]", "[empty]", "-", "--",
            "...", "?",
        ]
    )  # fmt: skip
    """What stands for a missing text, case and white space aside."""
    empty_turn: Action = Action.drop
    """Texts without anything but white space: drop, fill with `filling`, or keep and count."""
    cut_off: Action = Action.drop
    """Answers and documents that stop in mid-sentence: drop, or keep and count."""
    fences: Action = Action.drop
    """Code fences in an answer or document that are never closed: drop, fill (close it), or keep and count."""
    brackets: Action = Action.drop
    """Answers that begin as JSON and do not close its brackets or strings: drop, or keep and count."""
    continues: Action = Action.drop
    """Conversations that begin with `Continue`, answers that end with `[to be continued]` or ask whether to go on:
    drop, or keep and count."""
    filling: str = ""
    """The text that `fill` writes for a missing or empty one."""

    def check(self, run: Run) -> Iterable[str]:
        """What is filled needs a text, and what cannot be filled is not to be."""
        for name in CANNOT:
            if getattr(self, name) is Action.fill:
                yield f"{name}=fill: nobody knows what is missing; choose drop or keep"
        for name in ("missing", "empty_turn"):
            if getattr(self, name) is Action.fill and not self.filling.strip():
                yield f"{name}=fill needs a text to fill in: filling is empty"

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Rows that are whole, filled or kept; the others Rejected with the place and what is wrong there."""
        absent = {" ".join(text.split()).casefold() for text in self.placeholders}
        for row in rows:
            yield self._decided(row, absent, context)

    def _decided(self, row: Row, absent: set[str], context: Context) -> Row | Rejected:
        fillings: dict[str, str] = {}
        for passage in passages(row.columns):
            for kind, place, detail in self._problems(row, passage, absent):
                action, said = getattr(self, kind), kind.replace("_", " ")
                if action is Action.drop:
                    return Rejected(row, f"{said}: {place}: {detail}" if detail else f"{said}: {place}")
                context.counts[f"{said} {'filled' if action is Action.fill else 'kept'}"] += 1
                if action is Action.fill:
                    fillings[place] = f"{passage.text.rstrip()}\n```" if kind == "fences" else self.filling
        if not fillings:
            return row
        return replace(row, columns=rewritten(row.columns, lambda p: fillings.get(p.place, p.text)))

    def _problems(self, row: Row, passage: Passage, absent: set[str]) -> Iterator[_Found]:
        """At most one of a text; what is empty is not judged further."""
        from tuneforge.transform.cleaning import complete

        text, place = passage.text, passage.place
        if not text.strip():
            yield _Found("empty_turn", place, "")
        elif len(text) < 40 and " ".join(text.split()).casefold() in absent:
            yield _Found("missing", place, f"'{text.strip()}' stands for nothing")
        elif passage.role == "user" and place in FIRST and complete.asks_to_go_on(text):
            yield _Found("continues", place, f"'{text.strip()}', and nothing before it")
        elif _judged(row, passage):
            yield from self._unfinished(passage)

    def _unfinished(self, passage: Passage) -> Iterator[_Found]:
        from tuneforge.transform.cleaning import complete

        text, place = passage.text, passage.place
        if complete.open_fence(text):
            yield _Found("fences", place, "a code fence is not closed")
        elif complete.open_json(text):
            yield _Found("brackets", place, "its JSON is not closed")
        elif how := complete.cut_off(text):
            yield _Found("cut_off", place, how)
        elif complete.promises_more(text):
            yield _Found("continues", place, f"it ends with '{text.rstrip()[-40:]}'")


FIRST = ("prompt", "prompt[0]", "messages[0]")
"""Where a conversation begins."""


def _judged(row: Row, passage: Passage) -> bool:
    """Whether it is an answer or a document, which ought to be whole."""
    if passage.place == "text":
        return "label" not in row.columns
    return passage.role == "assistant" and passage.place.partition("[")[0] in ("completion", "messages", "chosen")
