"""Text and messages from the many ways in which files spell them, or the reason why they cannot be used.

A reason reads `kind: detail`; rejected rows are counted by kind.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tuneforge.data.reading import MAX_ROW_BYTES

Message = dict[str, Any]

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function": "tool",
}
"""Role in the file: canonical role."""

FOLLOWS = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}
"""Role: roles that may come next. A conversation begins with the empty one."""

_TYPES = {
    str: "text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
    list: "a list",
    dict: "an object",
}
_KNOWN_KEYS = {"role", "content", "from", "value", "weight", "loss_weight"}
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


class Unusable(Exception):
    """A row cannot be used; its text is the reason that is counted and quarantined."""


def kind_of(reason: str) -> str:
    """The part of a reason by which rows are counted: `wrong type` of `wrong type: 'output' is null`."""
    return reason.partition(": ")[0]


def text(value: Any, where: str) -> str:
    """`value`, if it is text that can be encoded; it may be empty."""
    if not isinstance(value, str):
        raise Unusable(f"wrong type: {where} is {_type(value)}, not text{_as_text(value, where)}")
    if "\0" in value:
        raise Unusable(f"NUL character: in {where} at character {value.index(chr(0)) + 1}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Unusable(f"lone surrogate: U+{ord(value[error.start]):04X} in {where}") from None
    if len(value) > MAX_ROW_BYTES:
        raise Unusable(f"row too large: {where} has {len(value):,} characters, the limit is {MAX_ROW_BYTES:,}")
    return value


def filled(value: Any, where: str, kind: str = "empty text") -> str:
    """`value`, if it is text with something other than whitespace in it."""
    if not (checked := text(value, where)).strip():
        raise Unusable(f"{kind}: {where}")
    return checked


def _as_text(value: Any, where: str) -> str:
    """How a number in a column of its own can be read as text."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    whole = where.strip("'")
    return f"; '{{{whole}}}' instead of the column makes text of it" if number and where == f"'{whole}'" else ""


def _type(value: Any) -> str:
    return _TYPES.get(type(value), type(value).__name__)


def messages(value: Any, where: str, extra: Counter[str]) -> list[Message]:
    """Canonical messages of a list of {role, content} or {from, value}; unused keys are counted in `extra`."""
    if not isinstance(value, list):
        raise Unusable(f"wrong type: {where} is {_type(value)}, not a list of messages")
    if not value:
        raise Unusable(f"no messages: {where} is an empty list")
    return [message(turn, f"{where}[{number}]", extra) for number, turn in enumerate(value)]


def message(value: Any, where: str, extra: Counter[str]) -> Message:
    """One canonical message: {role, content} and, where the file gives one, `weight`."""
    if not isinstance(value, Mapping):
        raise Unusable(f"wrong type: {where} is {_type(value)}, not a message")
    named = "role" if "role" in value else "from"
    held = "content" if "content" in value else "value"
    if named not in value or held not in value:
        raise Unusable(f"missing field: {where} needs role and content (or from and value), it has {', '.join(value)}")
    if value.get("tool_calls"):
        raise Unusable(f"tool_calls: {where} holds structured calls; give the call as the turn's text")
    if (role := ROLES.get(value[named]) if isinstance(value[named], str) else None) is None:
        raise Unusable(f"unknown role: {value[named]!r} in {where}; known are {', '.join(ROLES)}")
    made: Message = {"role": role, "content": _content(value[held], role, where)}
    if (weight := value.get("weight", value.get("loss_weight"))) is not None:
        made["weight"] = _weight(weight, where)
    extra.update([f"message.{key}" for key in value if key not in _KNOWN_KEYS])
    return made


def _content(value: Any, role: str, where: str) -> str:
    content = "".join(_parts(value, where)) if isinstance(value, list) else text(value, where)
    if role in ("user", "assistant") and not content.strip():
        raise Unusable(f"{'empty answer' if role == 'assistant' else 'empty prompt'}: {where}")
    return content


def _parts(parts: Sequence[Any], where: str) -> list[str]:
    found = []
    for part in parts:
        if isinstance(part, Mapping) and part.get("type") == "text":
            found.append(text(part.get("text", part.get("value")), where))
        elif isinstance(part, str):
            found.append(text(part, where))
        else:
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise Unusable(f"not text: {where} holds a part of type {kind!r}; only text can be trained on")
    return found


def _weight(value: Any, where: str) -> float:
    if isinstance(value, (int, float)) and 0 <= value < float("inf"):
        return float(value)
    raise Unusable(f"wrong weight: {where} has weight {value!r}; a weight is a number from 0")


def ordered(turns: Sequence[Message], last: tuple[str, ...], where: str) -> list[Message]:
    """`turns`, if the roles follow each other as templates expect and the last one is among `last`."""
    before = ""
    for number, turn in enumerate(turns):
        if turn["role"] not in FOLLOWS[before]:
            follows = f"follows {before}" if before else "comes first"
            raise Unusable(f"roles out of order: {turn['role']} {follows} in {where}[{number}]")
        before = turn["role"]
    if before not in last:
        raise Unusable(
            f"roles out of order: the last turn of {where} is {before or 'missing'}, not {' or '.join(last)}"
        )
    return list(turns)


def transcript(value: Any, where: str) -> list[Message]:
    """Messages of an hh-rlhf transcript (`\\n\\nHuman: … \\n\\nAssistant: …`), each stripped of outer whitespace."""
    before, *turns = _SPEAKER.split(text(value, where))
    if before.strip() or not turns:
        raise Unusable(f"no transcript: {where} must begin with '\\n\\nHuman:'")
    speakers, said = turns[::2], turns[1::2]
    made = [
        {"role": "user" if speaker == "Human" else "assistant", "content": words.strip()}
        for speaker, words in zip(speakers, said, strict=True)
    ]
    for number, turn in enumerate(made):
        _content(turn["content"], turn["role"], f"{where}[{number}]")
    return made
