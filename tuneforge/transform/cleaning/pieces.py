"""Where to cut a long text, so that nothing is lost and sentences stay whole."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
SENTENCE = re.compile(r"[.!?。！？][\"')\]\u201d\u2019]*\s+|[。！？]|\n")  # noqa: RUF001 (of Chinese and Japanese too)
WORD = re.compile(r"\s+")
HEADING = re.compile(r"^#{1,6}[ \t]+\S.*$", re.MULTILINE)
TITLE = 100
"""Characters of a first line that may be a title; it ends without a mark and is followed by an empty line."""


class Piece(NamedTuple):
    """A stretch of a text: from `start` to `end`; what stands before `fresh` stood in the piece before."""

    start: int
    fresh: int
    end: int


def pieces(text: str, ends: Sequence[int], size: int, overlap: int) -> Iterator[Piece]:
    """Pieces of at most `size` units; `ends` are the offsets in the text at which its units end, ascending.

    A piece ends after a paragraph, else a sentence, else a word, if one ends in the second half of what fits; else
    where it must. It begins at most `overlap` units before the end of the last, where a word begins. The stretches from
    `fresh` to `end` are the text.
    """
    start = fresh = 0
    while fresh < len(text):
        at = bisect_right(ends, start) + size - 1
        end = _cut(text, max(fresh + 1, (start + ends[at]) // 2), ends[at]) if at < len(ends) - 1 else len(text)
        yield Piece(start, fresh, end)
        fresh = end
        back = bisect_right(ends, end) - overlap
        start = _begin(text, ends[back - 1] if back > 0 else 0, end) if overlap else end


def _cut(text: str, least: int, most: int) -> int:
    """The end of the last paragraph, sentence or word that ends from `least` to `most`; else `most`."""
    for kind in (PARAGRAPH, SENTENCE, WORD):
        found = [m.end() for m in kind.finditer(text, max(0, least - 1), most) if m.end() >= least]
        if found:
            return found[-1]
    return most


def _begin(text: str, least: int, most: int) -> int:
    """Where the first word begins from `least` on, before `most`; else `most`."""
    if not least:
        return 0
    return next((m.end() for m in WORD.finditer(text, least - 1, most)), most)


def heading(text: str, before: int) -> str:
    """The last Markdown heading that ends before the offset, else the title of the text; empty where it has none."""
    marked = [m[0] for m in HEADING.finditer(text, 0, before)]
    if marked:
        return marked[-1]
    first, _, rest = text.partition("\n")
    titled = 0 < len(first) <= TITLE and rest.startswith("\n") and first.rstrip()[-1:] not in ".!?,;"
    return first if titled and len(first) < before else ""
