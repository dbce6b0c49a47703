"""The one word that a teacher was asked for."""

from __future__ import annotations

import json

from tuneforge.rows import Answer


def word(answer: Answer, key: str) -> str:
    """In lower case: what stands under the key of a JSON object, JSON itself, or a bare word; empty for a failure."""
    said: object = answer.text
    try:
        read = json.loads(answer.text)
        said = read.get(key, "") if isinstance(read, dict) else read
    except ValueError:
        pass
    return "" if answer.error else str(said).strip(" \n.`'\"*").lower()
