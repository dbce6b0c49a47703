"""A pattern of personal data: what it looks like, and what must hold of a candidate."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


def always(text: str, start: int, end: int) -> bool:
    """Every candidate is one."""
    return True


@dataclass(frozen=True)
class Pattern:
    """An expression of the `regex` module. Its group `value`, else its first, else the whole match is what is found."""

    kind: str
    expression: str
    keep: Callable[[str, int, int], bool] = always
    """Whether `text[start:end]`, which looks so, is one: checksum, range, words around it."""
    words: str = ""
    """An expression of the `re` module that the lower-case text must hold before `expression` is tried; empty: none.
    It begins with letters, which `re` looks for quickly."""
    gate: str = ""
    """The same over the text as it is."""
    digits: int = 0
    """Digits that a text with one holds at least."""


NUMBER = r"\d(?:[ ().\-/]{0,3}\d){6}"
"""Seven digits or more, with what may stand between those of one number."""


def near(before: str, after: str = "", reach: int = 40) -> Callable[[str, int, int], bool]:
    """A rule for `keep`: `before` is found in the `reach` characters before the candidate, or `after` right behind it.

    Both are expressions of the `re` module over lower-case text; `before` is searched up to the candidate's start.
    """
    ahead, behind = re.compile(before), re.compile(after) if after else None

    def keep(text: str, start: int, end: int) -> bool:
        if ahead.search(text[max(0, start - reach) : start].lower()):
            return True
        return behind is not None and behind.match(text[end : end + reach].lower()) is not None

    return keep
