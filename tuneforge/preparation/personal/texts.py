"""Every text of a row that a person may stand in, and the row with them replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuneforge.conversation import rewritten


def texts(columns: Mapping[str, Any]) -> list[str]:
    """Documents, prompts, answers and messages, the texts within tools, and the joined words of `tokens`, in order."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    _walked(columns, keep)
    if columns.get("tokens") is not None:
        found.append(" ".join(columns["tokens"]))
    return found


def replaced(columns: Mapping[str, Any], parts: Sequence[Sequence[tuple[int, int, str]]]) -> dict[str, Any]:
    """The columns with (start, end, new) applied to each of `texts`.

    Words of `tokens` stay as many as they are: each that is touched becomes a word of what is new.
    """
    at = iter(parts)
    made = _walked(columns, lambda text: spliced(text, next(at)))
    if columns.get("tokens") is not None:
        made["tokens"] = _words(columns["tokens"], next(at))
    return made


def spliced(text: str, changes: Sequence[tuple[int, int, str]]) -> str:
    """The text with (start, end, new), in order and without overlaps, applied."""
    pieces, done = [], 0
    for start, end, new in changes:
        pieces += [text[done:start], new]
        done = end
    return "".join((*pieces, text[done:]))


def _walked(columns: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    made = rewritten(columns, lambda passage: change(passage.text))
    if columns.get("tools") is not None:
        made["tools"] = _within(columns["tools"], change)
    return made


def _within(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _within(item, change) for key, item in value.items()}
    return [_within(item, change) for item in value] if isinstance(value, list | tuple) else value


def _words(words: Sequence[str], changes: Sequence[tuple[int, int, str]]) -> list[str]:
    made, at, starts = list(words), 0, []
    for word in words:
        starts.append(at)
        at += len(word) + 1
    for start, end, new in changes:
        touched = [i for i, begin in enumerate(starts) if begin < end and begin + len(words[i]) > start]
        pieces = new.split()
        for n, i in enumerate(touched):
            made[i] = pieces[min(n, len(pieces) - 1)]
    return made
