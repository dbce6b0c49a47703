"""Rows that answer with one of a few classes, however their columns say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tuneforge.conversation import answer_text, classes
from tuneforge.preparation.features import subject
from tuneforge.rows import Row

ANSWERS = 30
"""Different short answers at most that count as classes."""

SHORT = 40
"""Characters that an answer has at most where it is a class."""

REPEATED = 10
"""Rows that an answer has on average at least where answers are classes."""


class Labelled(NamedTuple):
    """A row with its class."""

    row: Row
    text: str
    """What it is about."""
    label: str


def labelled(rows: Iterable[Row]) -> list[Labelled]:
    """Rows with exactly one class: of a text, or of a prompt where answers are few, short and repeated."""
    held = list(rows)
    found = [
        Labelled(row, subject(row.columns), names[0])
        for row in held
        if (names := classes(row.columns)) is not None and len(names) == 1
    ]
    return found or _answered(held)


def _answered(rows: Sequence[Row]) -> list[Labelled]:
    answers = [answer_text(row.columns).strip() for row in rows]
    filled = [answer for answer in answers if answer]
    different = set(filled)
    few = 1 < len(different) <= ANSWERS and len(filled) >= REPEATED * len(different)
    if not few or max(map(len, different)) > SHORT:
        return []
    return [Labelled(row, subject(row.columns), answer) for row, answer in zip(rows, answers, strict=True) if answer]


def sizes(rows: Iterable[Labelled]) -> dict[str, int]:
    """Rows of each class, the largest first, equal ones by name."""
    counted = Counter(one.label for one in rows)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
