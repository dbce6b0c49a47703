"""The code in an answer, and the tests that a row brings."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable
from typing import Any

from tuneforge.errors import ConfigError
from tuneforge.rows import Row

FENCED = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)


def block(answer: str, languages: Iterable[str]) -> str:
    """The first fenced block in one of the languages, else the first of all, else the whole answer.

    A block that is never closed goes to the end.
    """
    found = [(match[1].lower(), match[2]) for match in FENCED.finditer(answer)]
    named = [text for language, text in found if language in languages]
    return (named or [text for _, text in found] or [answer])[0]


def tests(row: Row, value: Any, field: str) -> list[str]:
    """The tests of a row, a text or a list of them. ConfigError names a row whose tests are none."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise ConfigError(f"{row.place}: {field} must be a text of Python or a list of them, not {str(value)[:80]!r}")
    if not sum(statements(row, one, field) for one in texts):
        raise ConfigError(f"{row.place}: {field} holds no statement: everything would pass")
    return texts


def statements(row: Row, text: str, field: str) -> int:
    """How many statements the text has. ConfigError names the row where it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return len(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{row.place}: {field} cannot be compiled: {error}: {text[:80]!r}") from error
