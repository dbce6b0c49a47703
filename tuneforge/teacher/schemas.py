"""A JSON schema in words, for models that are not held to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tuneforge.rows import Request


def in_words(request: Request) -> list[Mapping[str, Any]]:
    """The request's messages; a schema stands as a sentence at the end of the last one."""
    messages = list(request.messages)
    if request.schema is None:
        return messages
    text = f"Answer with JSON alone, which fits this schema: {json.dumps(request.schema, ensure_ascii=False)}"
    return [*messages[:-1], {**messages[-1], "content": f"{messages[-1]['content']}\n\n{text}"}]


def strict(schema: Mapping[str, Any]) -> bool:
    """Whether every object of it says all its keys, as servers ask that hold an answer to every word of a schema."""
    if schema.get("type") == "object":
        own = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != own.keys():
            return False
        return all(strict(one) for one in own.values())
    return strict(schema["items"]) if schema.get("type") == "array" and "items" in schema else True
