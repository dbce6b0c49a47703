"""Values that slots take, the state of one draw, and templates such as `{device} in room {room}`."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

Value = Any
"""A string, an integer, a list of values, or a record: a mapping of field to value."""


class GrammarError(ValueError):
    """A mistake in one place of a grammar; `Grammar` adds the file, task and slot."""


class Draw:
    """One row in the making: the source of chance, and what the task has bound so far."""

    __slots__ = ("bound", "random")

    def __init__(self, random: Callable[[], float]) -> None:
        self.random = random
        """Uniform in [0, 1). Only this is used: `random.Random.random` is stable across Python versions."""
        self.bound: dict[str, Value] = {}

    def below(self, n: int) -> int:
        """A whole number in 0 … n - 1."""
        return int(self.random() * n)


Expression = Callable[[Draw], Value]


def text_of(value: Value) -> str:
    """How a value is written into a template: a list with spaces between, a record not at all."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(map(text_of, value))
    if isinstance(value, Mapping):
        raise GrammarError(f"a record (fields: {', '.join(value)}) stands where text belongs; write {{name.field}}")
    return str(value)


def field_of(value: Value, field: str) -> Value:
    """The field of a record; of a list of records, the list of that field."""
    if isinstance(value, list):
        return [field_of(v, field) for v in value]
    try:
        return value[field]
    except (KeyError, TypeError):
        fields = ", ".join(value) if isinstance(value, Mapping) else "none: it is no record"
        raise GrammarError(f"no field '{field}' (fields: {fields})") from None


def pieces(template: str) -> list[tuple[str, str]]:
    """(literal text, name or empty) of a template; `{{` and `}}` are literal braces.

    Raises GrammarError for a broken brace, an empty name, a format or a conversion.
    """
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise GrammarError(f"template {template!r}: {error}; write a literal brace as {{{{ or }}}}") from None
    found = []
    for literal, name, form, conversion in parsed:
        if name is not None and (not name or form or conversion):
            raise GrammarError(f"template {template!r}: only {{name}} and {{name.field}} are understood")
        found.append((literal, name or ""))
    return found


def chosen(expressions: Sequence[Expression], weights: Sequence[float]) -> Expression:
    """One of the expressions, drawn by weight."""
    count = len(expressions)
    if count == 1:
        return expressions[0]
    if len(set(weights)) == 1:
        return lambda draw: expressions[int(draw.random() * count)](draw)
    index = weighted_index(weights)
    return lambda draw: expressions[index(draw)](draw)


def weighted_index(weights: Iterable[float]) -> Callable[[Draw], int]:
    """Draws an index by weight."""
    from bisect import bisect_right

    bounds = list(accumulate(weights))
    total, last = bounds[-1], len(bounds) - 1
    return lambda draw: min(bisect_right(bounds, draw.random() * total), last)
