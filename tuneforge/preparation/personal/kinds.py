"""Kinds of personal data, and where one stands in a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


def beside(firm: Iterable[Span], further: Iterable[Span], text: str) -> list[Span]:
    """Both, overlaps resolved in each; where they overlap `firm` decides, and of `further` stays what lies beside it.

    Patterns with a checksum or a form of their own are firm against what a model or presidio takes a text for.
    """
    kept = resolved(firm)
    pieces = [piece for span in resolved(further) for piece in _without(span, kept)]
    return sorted([*kept, *(p for p in pieces if any(c.isalnum() for c in text[p.start : p.end]))])


def _without(span: Span, taken: Iterable[Span]) -> Iterator[Span]:
    start = span.start
    for other in taken:
        if other.end > start and other.start < span.end:
            yield Span(start, max(start, other.start), span.kind)
            start = other.end
    yield Span(start, max(start, span.end), span.kind)
