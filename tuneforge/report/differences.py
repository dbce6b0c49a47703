"""Which words of an answer are not in another text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from tuneforge.report.page import shown

LONGEST = 1200
"""Characters of an answer that are shown."""
ALIKE = 0.25
"""Share of two texts that has to be common (2 M / T of difflib) for marks to say anything: else all would be marked."""
WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|\s+|[^\w\s]")
"""Words, spaces and signs; of scripts that write no spaces, characters."""


class Stretch(NamedTuple):
    """A piece of a text, and what it is not part of."""

    text: str
    off: bool = False
    """Not in the reference."""
    new: bool = False
    """Not in the answer that it is compared with."""

    @property
    def classes(self) -> str:
        """Classes of its mark; empty: it needs none."""
        return " ".join(name for name in ("off", "new") if getattr(self, name))


def stretches(text: str, reference: str = "", rival: str | None = None) -> list[Stretch]:
    """The text, cut at 1,200 characters aloud, in stretches. A reference that is empty, a rival that is None, and one
    that has too little in common with the text mark nothing."""
    words = WORDS.findall(text[:LONGEST])
    off, new = _apart(words, reference), _apart(words, rival or "")
    found: list[Stretch] = []
    for word, *marks in zip(words, off, new, strict=True):
        if found and (found[-1].off, found[-1].new) == tuple(marks):
            found[-1] = found[-1]._replace(text=found[-1].text + word)
        else:
            found.append(Stretch(word, *marks))
    rest = [Stretch(shown(text, LONGEST)[LONGEST:])] if len(text) > LONGEST else []
    return [s._replace(text=shown(s.text)) for s in found] + rest


def _apart(words: Sequence[str], other: str) -> list[bool]:
    """Which of the words have no counterpart in the other text, in order."""
    matcher = SequenceMatcher(None, words, WORDS.findall(other[: 2 * LONGEST]), autojunk=False)
    if not other or matcher.quick_ratio() < ALIKE or matcher.ratio() < ALIKE:
        return [False] * len(words)
    apart = [True] * len(words)
    for start, _, size in matcher.get_matching_blocks():
        apart[start : start + size] = [False] * size
    return [differs and not word.isspace() for differs, word in zip(apart, words, strict=True)]
