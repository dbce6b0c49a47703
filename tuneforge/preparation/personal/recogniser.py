"""Find personal data in a text by patterns, each in bounded time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from tuneforge.preparation.personal import addresses, names, numbers, phones
from tuneforge.preparation.personal.kinds import KINDS, Span, resolved
from tuneforge.preparation.personal.pattern import Pattern

SECONDS = 1.0
"""What one pattern may take for one text; a text of more than 200,000 characters gets more, in proportion."""

CORE: tuple[Pattern, ...] = (*numbers.PATTERNS, *phones.PATTERNS, *addresses.PATTERNS, *names.PATTERNS)


_DIGITS = re.compile(r"\d+")
_PLAIN = re.compile(r"[\w '@/:|]+")
"""Words of a gate without a sign that means something in an expression."""


class Unfinished(Exception):
    """A pattern took too long for a text; its text is the kind of the pattern."""


class Recogniser:
    """The patterns of some kinds, with those that a user adds. It holds no state between texts."""

    def __init__(self, kinds: Iterable[str] = KINDS, extra: Sequence[Pattern] = ()) -> None:
        wanted = set(kinds)
        self.patterns = [*(p for p in CORE if p.kind in wanted), *extra]

    def spans(self, text: str) -> list[Span]:
        """What is personal in the text, in order, without overlaps. Raises Unfinished."""
        return resolved(self.candidates(text))

    def candidates(self, text: str) -> list[Span]:
        """As `spans`, before overlaps are resolved."""
        lower, digits = text.lower(), _digits(text)
        found: list[Span] = []
        for pattern in self.patterns:
            if digits >= pattern.digits and _holds(text, pattern.gate) and _holds(lower, pattern.words):
                found += _matches(pattern, text)
        return found


def _digits(text: str) -> int:
    """How many digits it holds, of any script."""
    if text.isascii():
        return len(text) - len(text.encode().translate(None, b"0123456789"))
    return sum(map(len, _DIGITS.findall(text)))


def _holds(text: str, expression: str) -> bool:
    return not expression or _gate(expression)(text)


def _matches(pattern: Pattern, text: str) -> list[Span]:
    found = []
    try:
        for match in compiled(pattern.expression).finditer(text, timeout=max(SECONDS, SECONDS * len(text) / 200_000)):
            start, end = match.span(_group(pattern.expression))
            if end > start and pattern.keep(text, start, end):
                found.append(Span(start, end, pattern.kind))
    except TimeoutError:
        raise Unfinished(pattern.kind) from None
    return found


@cache
def compiled(expression: str) -> Any:
    """The expression as the `regex` module compiles it; raises `regex.error`."""
    import regex

    return regex.compile(expression)


@cache
def _group(expression: str) -> int | str:
    """What of a match is found: the group `value`, else the first, else all of it."""
    made = compiled(expression)
    return "value" if "value" in made.groupindex else min(made.groups, 1)


@cache
def _gate(expression: str) -> Callable[[str], bool]:
    """Whether a text holds it. Plain words are looked for one by one: several times as fast as an alternation."""
    if not _PLAIN.fullmatch(expression):
        search = re.compile(expression).search
        return lambda text: search(text) is not None
    words = expression.split("|")
    return lambda text: any(word in text for word in words)
