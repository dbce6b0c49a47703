"""The question of a row, and the same row with another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tuneforge.conversation import classes, split
from tuneforge.rows import Row, content_hash


def asked(columns: Mapping[str, Any]) -> str:
    """The last thing said before the answer; the text that has a class; empty where there is neither."""
    if classes(columns) is not None:
        return str(columns["text"])
    parts = split(columns)
    prompt = parts[0] if parts else columns.get("prompt") or ""
    return prompt if isinstance(prompt, str) else str(prompt[-1].get("content") or "") if prompt else ""


def asking(row: Row, question: str, **columns: Any) -> Row:
    """The row with another question in place of the last thing said, and other columns; its id is its content's."""
    made = {**row.columns, **columns}
    made |= _questioned(made, question)
    return replace(row, columns=made, id=content_hash(made))


def _questioned(columns: Mapping[str, Any], question: str) -> dict[str, Any]:
    if classes(columns) is not None:
        return {"text": question}
    prompt = columns.get("prompt")
    if isinstance(prompt, str):
        return {"prompt": question}
    if prompt:
        return {"prompt": [*prompt[:-1], {**prompt[-1], "content": question}]}
    messages = list(columns["messages"])
    return {"messages": [*messages[:-2], {**messages[-2], "content": question}, messages[-1]]}
