"""What a dotted path leads to in the columns of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ABSENT = object()
"""A value that a row does not have."""


def reach(raw: Mapping[str, Any], path: str) -> Any:
    """The value of a column, or what a dotted path leads to; ABSENT where there is nothing.

    `turns.0` is the first element of a list, `turns.-1` the last; `paragraphs.text` is the list of each element's text.
    A column of the whole name wins.
    """
    return raw[path] if path in raw else _below(raw, path.split("."))


def _below(value: Any, keys: Sequence[str]) -> Any:
    for at, key in enumerate(keys):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.removeprefix("-").isdecimal():
            number = int(key)
            if not -len(value) <= number < len(value):
                return ABSENT
            value = value[number]
        elif isinstance(value, list):
            each = [_below(element, keys[at:]) for element in value]
            return ABSENT if any(one is ABSENT for one in each) else each
        else:
            return ABSENT
    return value
