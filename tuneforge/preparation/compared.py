"""The text of a row that is compared with other rows'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from tuneforge.conversation import Message, passages, split


class Part(StrEnum):
    """What of a row is compared."""

    row = "row"
    prompt = "prompt"
    answer = "answer"


class Keep(StrEnum):
    """Which of several rows that tell the same stays."""

    first = "first"
    longest = "longest"


def order(texts: Sequence[str], keep: Keep) -> list[int]:
    """The numbers of all texts, those that stay before those that go."""
    return sorted(range(len(texts)), key=lambda number: -len(texts[number]) if keep is Keep.longest else 0)


def text(columns: Mapping[str, Any], part: Part = Part.row) -> str:
    """The texts of that part, a line each; empty where a row has no such part.

    The answer is the last assistant turn, the completion, the chosen answer or the positive; a text that is classified
    or a document is its own prompt.
    """
    if part is Part.row:
        return "\n".join([*(p.text for p in passages(columns)), *_words(columns)])
    sides = split(columns) or split(columns, "chosen")
    if sides is not None:
        return _joined(sides[part is Part.answer])
    if part is Part.answer:
        return str(columns.get("positive") or "")
    alone = columns.get("prompt")
    if alone is not None:
        return alone if isinstance(alone, str) else _joined(alone)
    return str(columns.get("text") or columns.get("anchor") or "") or "\n".join(_words(columns))


def question(columns: Mapping[str, Any]) -> str:
    """The last paragraph of a prompt that has several: what is asked about the passage or table before it."""
    paragraphs = [p for p in text(columns, Part.prompt).split("\n\n") if p.strip()]
    return paragraphs[-1] if len(paragraphs) > 1 and split(columns) is not None else ""


def _joined(messages: Iterable[Message]) -> str:
    return "\n".join(str(message.get("content") or "") for message in messages)


def _words(columns: Mapping[str, Any]) -> list[str]:
    return [" ".join(columns["tokens"])] if columns.get("tokens") is not None else []
