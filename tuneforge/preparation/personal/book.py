"""Which replacement stands for which value, within one scope."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from tuneforge.preparation.personal.surrogates import surrogate

TRIES = 1000
"""After so many that are taken, a surrogate may stand for a second value: ages and single names are few."""
_BARE = {"PHONE", "CREDIT_CARD", "IBAN", "US_SSN", "RECORD_NUMBER"}
"""Kinds whose spaces and marks say nothing."""


class Entry(NamedTuple):
    """One line of the mapping."""

    scope: str
    kind: str
    replacement: str
    original: str


def key(kind: str, value: str) -> tuple[str, str]:
    """What makes two values the same: case and whitespace aside, and the marks between digits."""
    bare = re.sub(r"[\W_]+", "", value) if kind in _BARE else " ".join(value.split())
    return kind, bare.casefold()


@dataclass
class Book:
    """Replacements of one scope: a row, a group or all rows. A value gets the same one wherever it stands."""

    scope: str
    seed: int
    fake: bool
    """Surrogates instead of placeholders."""
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def replacement(self, kind: str, value: str, around: str) -> str:
        """What stands for the value; a new one does not stand in `around`, the texts of its row, already."""
        known = self.entries.get(key(kind, value))
        if known is None:
            known = self.entries[key(kind, value)] = Entry(self.scope, kind, self._new(kind, value, around), value)
        return known.replacement

    def also(self, part: str, whole: str) -> None:
        """A part of a person's name, alone, stands for the same person."""
        entry = self.entries[key("PERSON", whole)]
        pieces, at = entry.replacement.split(), whole.split().index(part)
        new = pieces[0 if at == 0 else -1] if self.fake else entry.replacement
        self.entries.setdefault(key("PERSON", part), Entry(self.scope, "PERSON", new, part))

    def _new(self, kind: str, value: str, around: str) -> str:
        draw = random.Random(f"{self.seed}|{self.scope}|{kind}")
        for _ in range(TRIES):
            number = self._counts.get(kind, 0)
            self._counts[kind] = number + 1
            new = surrogate(kind, value, number, draw) if self.fake else f"[{kind}_{number + 1}]"
            if new not in self._used and new not in around:
                break
        self._used.add(new)
        return new
