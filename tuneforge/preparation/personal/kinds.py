"""Kinds of personal data, and where one stands in a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

DIRECT = (
    "CREDIT_CARD", "IBAN", "US_SSN", "EMAIL", "IP", "PHONE", "DATE_OF_BIRTH", "RECORD_NUMBER", "ADDRESS", "POSTAL_CODE"
)  # fmt: skip
"""Kinds that name or reach a person by themselves, in the order that decides between spans of equal length."""

DEFAULT = (*DIRECT, "PERSON")
"""What is replaced unless the config names kinds. PERSON only where the context says it: `Mr X`, `my name is X`."""

OPTIONAL = ("DATE", "AGE", "URL")
"""Kinds that are replaced only where they are named: they seldom say by themselves who somebody is."""

KINDS = (*DEFAULT, *OPTIONAL)


class Span(NamedTuple):
    """A piece of a text that is personal data: `text[start:end]`."""

    start: int
    end: int
    kind: str


def resolved(spans: Iterable[Span]) -> list[Span]:
    """Spans that do not overlap, in order: overlapping ones become one, of the kind of the longest.

    The union, so that no piece of a shorter one stays behind. Of equally long ones the kind that comes first in
    `KINDS` wins; kinds that are not there (of a user, of presidio, of a model) come after, by name.
    """
    made: list[Span] = []
    best = (0, 0, "")
    for span in sorted(spans):
        rank = (span.start - span.end, KINDS.index(span.kind) if span.kind in KINDS else len(KINDS), span.kind)
        if made and span.start < made[-1].end:
            best = min(best, rank)
            made[-1] = Span(made[-1].start, max(made[-1].end, span.end), best[2])
        else:
            best = rank
            made.append(span)
    return made
