"""Texts that stand inside longer ones: a held-out row in a document, a template or a longer conversation.

GPT-3 (Brown et al. 2020, appendix C) takes runs of 8 to 13 words that a test shares with training for contamination,
PaLM (Chowdhery et al. 2022) seventy of a hundred runs of 8, Llama 2 (Touvron et al. 2023) eighty of a hundred tokens.
Rows of one template share as much and are other rows, so here every word has to be there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneforge.audit.hashed import Hashed
from tuneforge.conversation import split
from tuneforge.preparation import compared, signature
from tuneforge.preparation.shingles import runs, spaced, word_hashes
from tuneforge.rows import Row

if TYPE_CHECKING:
    from numpy import ndarray

WORDS = 13
"""Words that a row needs: fewer stand in other texts by chance (GPT-3's longest runs)."""
LONG = 2 * WORDS
"""Words from which a text is itself wherever it stands."""
GAP = 13
"""Words of a template or of another speaker that may stand between two lines."""
SIZES = (8, 4)
"""Words of the runs by which a row is sought: the first that a line has (GPT-3's shortest, and half of that)."""
BREAK = r"([.!?\u2026\u3002\uff01\uff1f:;\"\[\]{}()|*#\n]+)"
"""Signs at which a sentence, a line or a quotation begins or ends."""
TRIED = 64
"""Training rows with its rarest run in which a row is sought at most."""


@dataclass(frozen=True)
class _Sought:
    """A row that is long enough."""

    number: int
    row: Row
    texts: Sequence[Sequence[str]]
    """The lines of each of its texts as bare words."""
    size: int
    """Words of its runs."""

    @property
    def runs(self) -> ndarray:
        """Hashes of all its runs within lines (uint64)."""
        lines = [line for text in self.texts for line in text if line.count(" ") >= self.size - 1]
        return _runs(lines, self.size)[0]


def contained(train: Hashed, rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """(row, training row) for each row that stands whole in another, but not equal, training row.

    A row can only be contained where each of its runs of words is: one pass over the training rows counts them all, a
    second looks at those with the rarest run of what is left. The rows may be training rows.
    """
    sought = [one for number, row in enumerate(rows) if (one := _sought(number, row)) is not None]
    for size in SIZES:
        some = [one for one in sought if one.size == size]
        if some:
            yield from _of_size(train, some, size)


def _sought(number: int, row: Row) -> _Sought | None:
    texts = [[line for raw in text.splitlines() if (line := signature.bare(raw))] for text in _texts(row)]
    texts = [text for text in texts if text]
    lengths = [line.count(" ") + 1 for text in texts for line in text]
    size = next((size for size in SIZES if max(lengths, default=0) >= size), 0)
    return _Sought(number, row, texts, size) if size and sum(lengths) >= WORDS else None


def _texts(row: Row) -> list[str]:
    """What is evaluated: prompt and answer without system messages, or the text."""
    sides = split(row.columns) or split(row.columns, "chosen")
    if sides is None:
        return [compared.text(row.columns, part) for part in (compared.Part.prompt, compared.Part.answer)]
    return [str(m.get("content") or "") for side in sides for m in side if m["role"] != "system"]


def stands_in(texts: Sequence[Sequence[str]], document: str) -> bool:
    """Whether the lines of all texts stand in a document in order, with at most GAP words between two.

    A text below LONG, and a line with words before the next, have to begin and end where the document begins or ends a
    sentence, a line, or a label before a colon: else they are part of another sentence.
    """
    words, breaks = _pieces(document)
    lines = [
        (line, short and at == 0, short and at == len(text) - 1)
        for text in texts
        for short in (sum(one.count(" ") + 1 for one in text) < LONG,)
        for at, line in enumerate(text)
    ]
    begin = -1
    while (begin := words.find(f" {lines[0][0]} ", begin + 1)) >= 0:
        end = begin
        for line, first, last in lines:
            at = _next(words, line, end, breaks if first else None, breaks if last else None)
            gap = words.count(" ", end, at)
            if at < 0 or gap > GAP or (gap and not {end, at} <= breaks):
                break
            end = at + len(line) + 1
        else:
            return True
    return False


def _next(words: str, line: str, begin: int, starts: frozenset[int] | None, ends: frozenset[int] | None) -> int:
    """Where the line stands next, on the breaks that it has to keep to; -1: nowhere."""
    at = begin - 1
    while (at := words.find(f" {line} ", at + 1)) >= 0:
        if (starts is None or at in starts) and (ends is None or at + len(line) + 1 in ends):
            return at
    return -1


def _pieces(document: str) -> tuple[str, frozenset[int]]:
    """The bare words of a document, a space around each, and at which of these spaces something begins or ends."""
    words, breaks = " ", {0}
    pieces = re.split(BREAK, document)
    for piece, sign in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        words += f"{found} " if (found := signature.bare(piece)) else ""
        breaks.add(len(words) - 1)
        if ":" in sign and found:
            breaks.add(words.rfind(" ", 0, len(words) - 1))
    return words, frozenset(breaks)


def _of_size(train: Hashed, sought: Sequence[_Sought], size: int) -> Iterator[tuple[int, int]]:
    import numpy as np

    made = [one.runs for one in sought]
    known = np.unique(np.concatenate(made))
    counts = np.zeros(len(known), np.int64)
    for _, hashes, _ in train.runs(size):
        counts += np.bincount(_places(hashes, known)[1], minlength=len(known))
    anchors: dict[int, list[_Sought]] = {}
    for one, mine in zip(sought, made, strict=True):
        at = np.searchsorted(known, mine)
        if counts[at].min() > 0:
            anchors.setdefault(int(mine[counts[at].argmin()]), []).append(one)
    if anchors:
        yield from _verified(train, anchors, size)


def _verified(train: Hashed, anchors: Mapping[int, list[_Sought]], size: int) -> Iterator[tuple[int, int]]:
    import numpy as np

    known = np.sort(np.fromiter(anchors, np.uint64, len(anchors)))
    tried: Counter[int] = Counter()
    for start, hashes, offsets in train.runs(size):
        hit = np.flatnonzero(_places(hashes, known)[0])
        owners = np.searchsorted(offsets, hit.astype(np.uint64), "right") - 1
        for owner, anchor in sorted({*zip(owners.tolist(), hashes[hit].tolist(), strict=True)}):
            tried[anchor] += 1
            for one in list(anchors[anchor]) if tried[anchor] <= TRIED else ():
                row = train.rows[start + owner]
                if not _equal(row, one.row) and stands_in(one.texts, compared.text(row.columns)):
                    anchors[anchor].remove(one)
                    yield one.number, start + owner


def _equal(one: Row, other: Row) -> bool:
    return one is other or signature.letters(compared.text(one.columns)) == signature.letters(
        compared.text(other.columns)
    )


def _runs(texts: Sequence[str], size: int) -> tuple[ndarray, ndarray]:
    lengths = [text.count(" ") + 1 if text else 0 for text in texts]
    return runs(spaced(word_hashes(texts), lengths, size - 1), lengths, size)


def _places(hashes: ndarray, known: ndarray) -> tuple[ndarray, ndarray]:
    """Which hashes are known (bool), and where those stand in the sorted `known`."""
    import numpy as np

    at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    hit = known[at] == hashes
    return hit, at[hit]
