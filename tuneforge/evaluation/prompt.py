"""What a variant puts around each row's question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tuneforge.conversation import as_messages, split
from tuneforge.rows import Row, content_hash

if TYPE_CHECKING:
    from tuneforge.evaluation.passages import Passages
    from tuneforge.evaluation.shots import Nearest

QUESTION = "{prompt}"
"""Where the question stands in a format."""


class Place(StrEnum):
    """Where an instruction stands."""

    system = "system"
    """A system message; behind the row's own, where it has one."""
    question = "question"
    """Before the question: the template knows no system messages."""
    before = "before"
    """Before everything else: plain text, without a chat template."""


@dataclass(frozen=True)
class Prompt:
    """A way of asking: the plain one by default."""

    name: str = "zero-shot"
    examples: tuple[Row, ...] = ()
    """Rows shown with their answers before each question, or those among which `nearest` chooses."""
    nearest: Nearest | None = None
    """Chooses examples for each question; None: all are shown."""
    instruction: str = ""
    place: Place = Place.system
    format: str = QUESTION
    """The question of the row and of each example, with `{prompt}` where their own stands."""
    passages: Passages | None = None
    """Texts of which the best are put before the question."""

    def shots(self, row: Row) -> Sequence[Row]:
        """The examples shown before this row, the most useful last: the first are dropped where room lacks.

        Never the row itself, nor one with the same question.
        """
        own = question(row.columns)
        found = self.nearest.to(own) if self.nearest else self.examples
        shown = [shot for shot in found if question(shot.columns) != own]
        if self.format == QUESTION:
            return shown
        return [replace(shot, columns=_asked(shot.columns, self._formatted)) for shot in shown]

    def columns(self, row: Row) -> Mapping[str, Any]:
        """The row's columns with the question as it is asked."""
        if self.format == QUESTION and not self.passages and not self.instruction:
            return row.columns
        columns = _asked(row.columns, self._question)
        if self.instruction and self.place is Place.system:
            return _instructed(columns, self.instruction)
        return {**columns, "preface": self.instruction} if self.instruction and self.place is Place.before else columns

    def _formatted(self, text: str) -> str:
        return self.format.replace(QUESTION, text)

    def _question(self, text: str) -> str:
        """Instruction (where it has no message of its own), passages, and the formatted question."""
        asked = self._formatted(text)
        if self.passages and (found := self.passages.before(text)):
            asked = f"{found}\n\n{asked}"
        return f"{self.instruction}\n\n{asked}" if self.instruction and self.place is Place.question else asked

    def facts(self) -> dict[str, Any]:
        """JSON that tells this way of asking from others: hashed into the variant's `prompt`."""
        ids = [row.id or content_hash(row.columns) for row in self.examples]
        found: dict[str, Any] = {"shots": len(ids), "shot_ids": ids}
        if self.nearest:
            pool = content_hash({"ids": ids})
            found = {"shots": self.nearest.count, "selection": "nearest", "pool_rows": len(ids), "pool": pool}
        if self.instruction:
            found["instruction"] = self.instruction
            found["place"] = str(self.place)
        if self.format != QUESTION:
            found["format"] = self.format
        return found | (self.passages.facts() if self.passages else {})


def question(columns: Mapping[str, Any]) -> str:
    """The text that is asked: the last user message of a prompt; empty where there is none."""
    said = [m for m in _prompt(columns) if m["role"] == "user"]
    return str(said[-1].get("content") or "") if said else ""


def _prompt(columns: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if columns.get("prompt") is not None:
        return as_messages(columns["prompt"], "user")
    parts = split(columns)
    return parts[0] if parts else ()


def _asked(columns: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The columns with another last user message; as they are where there is none."""
    if isinstance(columns.get("prompt"), str):
        return {**columns, "prompt": change(columns["prompt"])}
    name = _holder(columns)
    messages = list(columns.get(name) or ())
    last = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=None)
    if last is None:
        return dict(columns)
    messages[last] = {**messages[last], "content": change(str(messages[last].get("content") or ""))}
    return {**columns, name: messages}


def _instructed(columns: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The columns with a system message, or with the text behind that of the row."""
    name = _holder(columns)
    first, *rest = messages = as_messages(columns.get(name) or [], "user") or [{"role": "user", "content": ""}]
    if first["role"] == "system":
        return {**columns, name: [{**first, "content": f"{first.get('content') or ''}\n\n{text}"}, *rest]}
    return {**columns, name: [{"role": "system", "content": text}, *messages]}


def _holder(columns: Mapping[str, Any]) -> str:
    return "prompt" if columns.get("prompt") is not None else "messages"


PLAIN = Prompt()
