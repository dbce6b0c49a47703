"""What was found once in a conversation, wherever else it stands in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tuneforge.preparation.personal.kinds import Span, resolved

SHORTEST = 4
"""Characters below which a value is replaced only where it was found."""
_WORDS = frozenset(
    re.findall(
        r"\w+",
        "will may mark grant rose grace hope faith joy art bill pat sue drew chase dean earl king page park price "
        "reed rich stone wood young long short brown black white green gray grey hill lane field ford march april june",
    )
)
"""Names that are words too: alone they are left where they stand."""


def found_values(parts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[tuple[str, str]]:
    """(kind, value) of every span, each once, in order."""
    pairs = ((s.kind, text[s.start : s.end]) for text, found in zip(parts, spans, strict=True) for s in found)
    return list(dict.fromkeys(pairs))


def name_parts(values: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Part of a person's name that may stand alone: the whole name it was found in, the longest first."""
    names = sorted((value for kind, value in values if kind == "PERSON"), key=len, reverse=True)
    found: dict[str, str] = {}
    for name in names:
        for part in name.split():
            if part != name and len(part) >= SHORTEST and part[0].isupper() and part.lower() not in _WORDS:
                found.setdefault(part, name)
    return found


def everywhere(
    parts: Sequence[str], spans: Sequence[Sequence[Span]], values: Iterable[tuple[str, str]]
) -> list[list[Span]]:
    """The spans, and those of further mentions of the values: whole words, case as it was found."""
    kinds = {value: kind for kind, value in values if len(value) >= SHORTEST}
    if not kinds:
        return [list(found) for found in spans]
    words = "|".join(re.escape(value) for value in sorted(kinds, key=len, reverse=True))
    mention = re.compile(rf"(?<!\w)(?:{words})(?!\w)")
    return [
        resolved([*found, *(Span(*m.span(), kinds[m[0]]) for m in mention.finditer(text))])
        for text, found in zip(parts, spans, strict=True)
    ]
