"""How the audit reads a row: what is asked and answered in it, and what it is the text of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tuneforge.audit.finding import Shown
from tuneforge.conversation import as_messages
from tuneforge.rows import Row

WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
EXCERPT = 160
"""Characters of a row that a finding shows."""
MOST = 10
"""Rows that a finding shows."""


class Exchange(NamedTuple):
    """One thing that the model is asked, and what it is to answer."""

    row: Row
    asked: str
    """The last message of the user before the answer, or the whole prompt."""
    answer: str
    opening: bool = True
    """Whether it is the first of its conversation."""


def exchanges(row: Row, record: str) -> Iterator[Exchange]:
    """The exchanges that a strategy which needs `record` trains: the chosen side of a preference, the last turn for
    `completion`, every assistant turn for `messages`; none for documents, classes, tags, pairs and bare prompts.
    """
    columns = row.columns
    if record in ("preference", "unpaired") and columns.get("chosen") is not None:
        yield from _last(row, columns["prompt"], columns["chosen"])
    elif columns.get("completion") is not None:
        if record in ("messages", "completion", "unpaired") and columns.get("prompt") is not None:
            yield from _last(row, columns["prompt"], columns["completion"])
    elif record in ("messages", "completion") and columns.get("messages"):
        found = list(_turns(row, columns["messages"]))
        yield from found if record == "messages" else found[-1:]


def _last(row: Row, prompt: Any, answer: Any) -> Iterator[Exchange]:
    asked = as_messages(prompt, "user")
    users = [m for m in asked if m["role"] == "user"] or asked
    said = "\n".join(str(m.get("content") or "") for m in as_messages(answer, "assistant"))
    yield Exchange(row, str(users[-1].get("content") or "") if users else "", said, len(users) < 2)


def _turns(row: Row, messages: Sequence[Mapping[str, Any]]) -> Iterator[Exchange]:
    asked, opening = "", True
    for message in messages:
        if message["role"] == "assistant" and message.get("weight") != 0:
            if message.get("content"):
                yield Exchange(row, asked, str(message["content"]), opening)
            opening = False
        elif message["role"] == "user":
            asked = str(message.get("content") or "")


def document(columns: Mapping[str, Any]) -> str | None:
    """The text of a row that is a text, with or without a class; None for others."""
    text = columns.get("text")
    return text if isinstance(text, str) else None


def words(text: str) -> list[str]:
    """Words in lower case, apostrophes within them kept."""
    return WORD.findall(text.lower())


def listed(text: str) -> frozenset[str]:
    """The words of a list that is written as one text."""
    return frozenset(text.split())


def shown(rows: Iterable[tuple[Row, str]]) -> list[Shown]:
    """The first ten as rows to look at, each cut at 160 characters."""
    found: list[Shown] = []
    for row, text in rows:
        if len(found) == MOST:
            break
        flat = " ".join(text.split())
        found.append(Shown(row.place, flat if len(flat) <= EXCERPT else flat[: EXCERPT - 1] + "…"))
    return found


def source(row: Row) -> str:
    """Key of the row's source for sentences: `data.alpaca`, `synthetic.tickets`."""
    return row.source or "data"
