"""Held-out rows that are nearly a training row: told in other words, but the same row.

Rows of one template are as near as that and are other rows, so numbers, labels and short answers have to be equal, and
how near training rows are to one another says how many such pairs the data has by its nature.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from tuneforge.audit.hashed import Hashed
from tuneforge.preparation import compared, signature
from tuneforge.preparation.near import likely
from tuneforge.rows import Row

if TYPE_CHECKING:
    from numpy import ndarray

SHARE = 0.8
"""Share of words in common from which rows are near (Dice): one word in five may differ."""
JACCARD = SHARE / (2 - SHARE)
"""The same as Jaccard's similarity."""
PROMPT_SHARE = 0.6
"""Share of the prompt's words in common: two prompts may have the same refusal."""
WORDS = 8
"""Words that both rows need, and from which an answer may differ in words (GPT-3's shortest runs)."""
MET = 256
"""Training rows that share a band with a held-out row and are looked at, of the rarest bands first."""
VERIFIED = 16
"""Training rows whose words are compared with it, the nearest by their signatures."""


class Profile(NamedTuple):
    """The words of a row."""

    prompt: Counter[str]
    answer: Counter[str]
    numbers: frozenset[tuple[str, str, int]]
    """Where a word with a digit stands, the word, and how often."""
    label: str
    text: str
    """All of it, folded."""


def alike(train: Hashed, rows: Sequence[Row], seed: int) -> Iterator[tuple[int, int, float]]:
    """(row, training row, share of words in common) of each row that is near a training row but not equal to it.

    Of several the nearest. The rows may be training rows. The signatures of one block of training rows are held.
    """
    if not train.rows or not rows:
        return
    asked = Hashed(rows).signatures(JACCARD, seed)
    nearest: dict[int, tuple[float, int]] = {}
    for start, block in train.blocks():
        for number, at, top in _nearest(block, rows, asked, seed):
            nearest[number] = max(nearest.get(number, (0.0, 0)), (top, -(start + at)))
    for number, (top, at) in sorted(nearest.items()):
        yield number, -at, top


def _nearest(
    train: Hashed, rows: Sequence[Row], sought: tuple[ndarray, ndarray], seed: int
) -> Iterator[tuple[int, int, float]]:
    mine, asked = sought
    sketches, signed = train.signatures(JACCARD, seed)
    profiles = lru_cache(maxsize=4096)(lambda at: profile(train.rows[at]))
    for number, met in enumerate(_met(signed, asked)):
        if not met.size:
            continue
        best = likely(met, sketches, mine[number], JACCARD)[:VERIFIED]
        wanted = profile(rows[number]) if best else None
        found = [(share(wanted, profiles(at)), -at) for at in best if wanted]
        top, at = max(found, default=(0.0, 0))
        if top:
            yield number, -at, top


def share(one: Profile, other: Profile) -> float:
    """Dice's coefficient of all words; 0 where it is below SHARE, the rows are equal or tell different things."""
    if one.numbers != other.numbers or one.label != other.label or one.text == other.text:
        return 0.0
    words, others = one.prompt + one.answer, other.prompt + other.answer
    if min(words.total(), others.total()) < WORDS:
        return 0.0
    if dice(one.prompt, other.prompt) < PROMPT_SHARE or not _same_answer(one.answer, other.answer):
        return 0.0
    found = dice(words, others)
    return found if found >= SHARE else 0.0


def dice(one: Counter[str], other: Counter[str]) -> float:
    """Twice the words in common over all words of both; 1 where both have none."""
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0


def profile(row: Row) -> Profile:
    """The words of a row by what they are for."""
    prompt, answer = (
        Counter(signature.bare(compared.text(row.columns, part)).split())
        for part in (compared.Part.prompt, compared.Part.answer)
    )
    numbers = ((side, w, n) for side, found in (("prompt", prompt), ("answer", answer)) for w, n in found.items())
    digits = frozenset(n for n in numbers if not n[1].isalpha() and any(c.isdigit() for c in n[1]))
    return Profile(prompt, answer, digits, repr(row.columns.get("label")), signature.folded(compared.text(row.columns)))


def _same_answer(one: Counter[str], other: Counter[str]) -> bool:
    short = min(one.total(), other.total()) < WORDS
    return one == other if short else dice(one, other) >= SHARE


def _met(signed: ndarray, asked: ndarray) -> Iterator[ndarray]:
    """For each row asked for, the training rows that share a band, MET at most, of the rarest bands first."""
    import numpy as np

    orders = np.argsort(signed, axis=0, kind="stable")
    ordered = np.take_along_axis(signed, orders, axis=0)
    left, right = (
        np.stack([np.searchsorted(ordered[:, band], asked[:, band], side) for band in range(asked.shape[1])], axis=1)
        for side in ("left", "right")
    )
    sizes = np.where(asked != 0, right - left, 0)
    for number, size in enumerate(sizes):
        parts, taken = [np.zeros(0, np.int64)], 0
        for band in np.argsort(size, kind="stable")[np.count_nonzero(size == 0) :].tolist():
            begin = left[number, band]
            parts.append(orders[begin : begin + min(size[band], MET - taken), band])
            taken += len(parts[-1])
            if taken >= MET:
                break
        yield np.unique(np.concatenate(parts))
