"""What a row offers: its conversation, its prompt and its answer, whatever columns hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Message = Mapping[str, Any]


def as_messages(value: str | Sequence[Message], role: str) -> list[Message]:
    """A string as one message of that role; a list of messages as it is."""
    return [{"role": role, "content": value}] if isinstance(value, str) else list(value)


def conversation(columns: Mapping[str, Any]) -> list[Message] | None:
    """The whole conversation of `messages` or `prompt` + `completion`; None where there is none."""
    if columns.get("messages"):
        return list(columns["messages"])
    if columns.get("prompt") is not None and columns.get("completion") is not None:
        return as_messages(columns["prompt"], "user") + as_messages(columns["completion"], "assistant")
    return None


PLAIN = {"text": "", "prompt": "user", "completion": "assistant", "chosen": "assistant", "rejected": "assistant"}
PLAIN |= {"anchor": "user", "positive": "assistant", "negative": "assistant"}
"""Canonical column: who speaks in it where it is a plain text."""


class Passage(NamedTuple):
    """One text of a row."""

    place: str
    """Column, with the number of the message in it: `completion`, `messages[2]`."""
    role: str
    """system, user, assistant or tool; empty for a document."""
    text: str


def passages(columns: Mapping[str, Any]) -> Iterator[Passage]:
    """Every text of a row in order: documents, prompts, answers, messages; not `tokens`, labels and tools."""
    for name, value in columns.items():
        if name in PLAIN and isinstance(value, str):
            yield Passage(name, PLAIN[name], value)
        elif (name in PLAIN or name == "messages") and isinstance(value, Sequence):
            for number, message in enumerate(value):
                yield Passage(f"{name}[{number}]", message["role"], message.get("content") or "")


def rewritten(columns: Mapping[str, Any], change: Callable[[Passage], str]) -> dict[str, Any]:
    """The same columns with every passage replaced by what `change` makes of it."""
    made = dict(columns)
    for name, value in columns.items():
        if name in PLAIN and isinstance(value, str):
            made[name] = change(Passage(name, PLAIN[name], value))
        elif (name in PLAIN or name == "messages") and isinstance(value, Sequence):
            made[name] = [
                {**m, "content": change(Passage(f"{name}[{number}]", m["role"], m.get("content") or ""))}
                for number, m in enumerate(value)
            ]
    return made


def split(columns: Mapping[str, Any], column: str = "completion") -> tuple[list[Message], list[Message]] | None:
    """(prompt, answer) messages, where the answer is `column`, or the last assistant turn of `messages`."""
    if columns.get("prompt") is not None and columns.get(column) is not None:
        return as_messages(columns["prompt"], "user"), as_messages(columns[column], "assistant")
    messages = columns.get("messages")
    if column == "completion" and messages and messages[-1]["role"] == "assistant":
        return list(messages[:-1]), list(messages[-1:])
    return None


def answer_text(columns: Mapping[str, Any], column: str = "completion") -> str:
    """The text of the answer messages of a row; empty where it has none."""
    parts = split(columns, column)
    return "\n".join(str(m.get("content") or "") for m in parts[1]) if parts else ""


def references(columns: Mapping[str, Any]) -> list[str]:
    """Every text that would be a right answer: those of `references`, else the row's one answer."""
    return list(columns.get("references") or [answer_text(columns)])


def right_choice(columns: Mapping[str, Any]) -> int | None:
    """Which of `choices` the answer is: by its text, its letter (`B`, `(B)`, `B.`) or its number from 0; None: none."""
    choices, answer = columns.get("choices"), answer_text(columns).strip()
    if not choices:
        return None
    texts = [str(choice).strip() for choice in choices]
    if texts.count(answer) == 1:
        return texts.index(answer)
    letter = answer.strip("().: ").upper()
    place = ord(letter) - ord("A") if len(letter) == 1 and letter.isascii() and letter.isalpha() else -1
    place = int(answer) if answer.isdecimal() else place
    return place if 0 <= place < len(texts) else None


def classes(columns: Mapping[str, Any]) -> list[str] | None:
    """The classes of a text: one, or those of a list, which may be empty; numbers as text. None: the row has none."""
    label = columns.get("label")
    if label is None or not isinstance(columns.get("text"), str):
        return None
    return [str(one) for one in label] if isinstance(label, Sequence) and not isinstance(label, str) else [str(label)]


def offers(columns: Mapping[str, Any], record: str) -> bool:
    """Whether the columns can serve as text, messages, completion, preference, label, tags, pair or unpaired."""
    if record == "text":
        return isinstance(columns.get("text"), str)
    if record == "preference":
        return all(columns.get(c) is not None for c in ("prompt", "chosen", "rejected"))
    if record == "messages":
        return conversation(columns) is not None
    if record == "completion":
        return split(columns) is not None
    if record == "prompt":
        return columns.get("prompt") is not None or split(columns) is not None
    if record == "label":
        return classes(columns) is not None
    if record == "pair":
        return columns.get("anchor") is not None and columns.get("positive") is not None
    if record == "unpaired" and offers(columns, "preference"):
        return True
    if record == "unpaired":
        return split(columns) is not None and "prompt" in columns and isinstance(columns.get("label"), bool)
    return columns.get(record) is not None


def trained_texts(columns: Mapping[str, Any], record: str, part: str = "") -> list[str] | None:
    """What an assistant says in a row that serves as `record`; `part` names the side of a preference. None: unknown."""
    if record == "messages":
        said = [m for m in conversation(columns) or () if m["role"] == "assistant"]
    elif record in ("completion", "preference"):
        sides = split(columns, part or "completion")
        said = sides[1] if sides else []
    else:
        return None
    return [m.get("content") or "" for m in said if m.get("weight") != 0]
