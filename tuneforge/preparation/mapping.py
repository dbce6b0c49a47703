"""What a value of `columns.X` means: a column's name, a dotted path into a column, or a template of both."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge.data.nested import ABSENT, reach
from tuneforge.errors import ConfigError, nearest
from tuneforge.preparation.messages import Unusable

PARAGRAPHS, LINES, CELLS = "\n\n", "\n", " | "
"""What joins the texts of a list, the rows of a table and the cells of a row."""

_PIECE = re.compile(r"\{\{|\}\}|\{(?P<part>[^{}]+)\}|\\n|\\t")
_LITERAL = {"{{": "{", "}}": "}", "\\n": "\n", "\\t": "\t"}


def rendered(value: Any, where: str, separator: str = "") -> str:
    """A value as text: numbers and booleans as in JSON, a list joined by blank lines, a list of lists as a table.

    `separator` joins the texts of a list, or the cells of a table's row. Unusable for null, objects and what is mixed.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        return LINES.join((separator or CELLS).join(_cell(cell, where) for cell in row) for row in value)
    if isinstance(value, list):
        return (separator or PARAGRAPHS).join(_scalar(one, where) for one in value)
    return _scalar(value, where)


def _cell(value: Any, where: str) -> str:
    return "" if value is None else " ".join(_scalar(value, where).split("\n"))


def _scalar(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)
    if value is None:
        raise Unusable(f"missing field: {where} is null")
    raise Unusable(f"wrong type: {where} holds {type(value).__name__}, which has no one way to be text")


@dataclass(frozen=True)
class Path:
    """A dotted path, such as `instances.0.output`."""

    text: str

    def value(self, raw: Mapping[str, Any]) -> Any:
        """What it leads to in a row; ABSENT where it leads nowhere."""
        return reach(raw, self.text)

    def parts(self) -> Iterator[str]:
        """The paths in it."""
        yield self.text


@dataclass(frozen=True)
class Template:
    """A text with paths in it: `{CONTEXTS}\\n\\n{QUESTION}`; what stands behind a colon joins the texts of a list."""

    text: str

    def value(self, raw: Mapping[str, Any]) -> str:
        """The text filled from a row; Unusable where a part is missing or has no one way to be text."""
        return _PIECE.sub(lambda piece: self._piece(piece, raw), self.text)

    def parts(self) -> Iterator[str]:
        """The paths in it."""
        yield from (found["part"].partition(":")[0] for found in _PIECE.finditer(self.text) if found["part"])

    def _piece(self, piece: re.Match[str], raw: Mapping[str, Any]) -> str:
        if piece["part"] is None:
            return _LITERAL[piece[0]]
        path, _, separator = piece["part"].partition(":")
        if (value := reach(raw, path)) is ABSENT:
            raise Unusable(f"missing field: '{path}'")
        return rendered(value, f"'{path}'", separator.replace("\\n", "\n").replace("\\t", "\t"))


Expression = Path | Template


def expression(text: str) -> Expression:
    """What a value of `columns.X` means where it is not the name of a column."""
    return Template(text) if any(found["part"] for found in _PIECE.finditer(text)) else Path(text)


@dataclass(frozen=True)
class Mapped:
    """The expressions of one source, each by its own text."""

    expressions: Mapping[str, Expression]

    def roots(self, columns: Sequence[str]) -> set[str]:
        """The columns that they read."""
        parts = {part for found in self.expressions.values() for part in found.parts()}
        return {part if part in columns else part.partition(".")[0] for part in parts}

    def apply(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with a column for each expression that leads somewhere; the row itself where there are none."""
        if not self.expressions:
            return raw
        made = dict(raw)
        for text, found in self.expressions.items():
            if text not in raw and (value := found.value(raw)) is not ABSENT:
                made[text] = value
        return made


def mapping(
    config_key: str, given: Mapping[str, str], columns: Sequence[str], head: Sequence[Mapping[str, Any]]
) -> Mapped:
    """What is no column's name is an expression; ConfigError for a path that leads nowhere in the first rows."""
    expressions: dict[str, Expression] = {}
    for canonical, name in given.items():
        if name in columns:
            continue
        expressions[name] = found = expression(name)
        for part in found.parts():
            if all(reach(row, part) is ABSENT for row in head):
                raise ConfigError(f"{config_key}.columns.{canonical}={name}: {_nowhere(part, name, columns, head)}")
    return Mapped(expressions)


def _nowhere(part: str, name: str, columns: Sequence[str], head: Sequence[Mapping[str, Any]]) -> str:
    """How far a path leads, and what there is instead of its next step."""
    what = "" if part == name else f" '{part}'"
    keys = part.split(".")
    if keys[0] not in columns:
        return f"the file has no such column{what} (it has {', '.join(columns)}).{nearest(keys[0], columns)}"
    steps = range(len(keys) - 1, 0, -1)
    reached = next(n for n in steps if any(reach(row, ".".join(keys[:n])) is not ABSENT for row in head))
    before = ".".join(keys[:reached])
    values = [reach(row, before) for row in head]
    inner = list(dict.fromkeys(key for value in values if isinstance(value, Mapping) for key in value))
    if not inner:
        kinds = dict.fromkeys("a list" if isinstance(v, list) else type(v).__name__ for v in values if v is not ABSENT)
        return f"the path{what} ends at '{before}', which holds {' or '.join(kinds)} without '{keys[reached]}'"
    return f"'{before}' has no '{keys[reached]}' (it has {', '.join(inner)}).{nearest(keys[reached], inner)}"
