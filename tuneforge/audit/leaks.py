"""Rows of evaluation sets that stand in the training data, however they are dressed."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from tuneforge.audit.containment import contained
from tuneforge.audit.hashed import Hashed
from tuneforge.audit.likeness import alike
from tuneforge.evaluation.statistics import wilson
from tuneforge.preparation import compared, signature
from tuneforge.rows import HeldOut, Row

EXCERPT = 160
"""Characters of a held-out row that are shown."""
SAMPLE = 1000
"""Training rows that are held against the other training rows."""
FOLDED_WORDS = 5
"""Words from which a row is told by its letters and digits alone: in a shorter one the signs may be what matters."""
FOLDED_SIGNS = 0.1
"""Largest share of other signs for that: prose has a twentieth, code and data have more, and there they matter."""
DECIMAL = re.compile(r"\d+\.\d+")
FOLDED_LONG = 30
"""Words from which that share does not matter."""


class Kind(StrEnum):
    """How a held-out row stands in training; the first that applies."""

    row = "row"
    """Prompt and answer, or the text, are equal, case and whitespace aside."""
    folded = "folded"
    """Equal in all letters and digits, where these tell rows apart: punctuation, width or misread characters differ."""
    contained = "contained"
    """Its texts stand whole in one training row, in order and one right after the other."""
    near = "near"
    """Four words in five or more, all numbers and the label are those of a training row: to be looked at."""
    prompt = "prompt"
    """The prompt alone is equal; the answer is another, or none is given."""


ORDER = list(Kind)


@dataclass(frozen=True)
class Leak:
    """A held-out row that stands in training."""

    split: str
    set: str
    held_out_place: str
    train_place: str
    kind: Kind
    similarity: float
    """Share of words in common, of a near row; else 1."""
    excerpt: str
    """How the held-out row begins."""


@dataclass(frozen=True)
class Leaks:
    """All leaks, and what their number is to be held against."""

    found: Sequence[Leak]
    """Proven ones first, then by the order of the sets."""
    held_out: Mapping[str, int]
    """Rows of each evaluation set, as `test.<key>`."""
    common: Mapping[Kind, tuple[int, int]] = field(default_factory=dict)
    """Contained, near: how many of a sample of training rows are so in another training row, and the sample's size."""

    def of(self, *kinds: Kind) -> list[Leak]:
        """The leaks of these kinds."""
        return [leak for leak in self.found if leak.kind in kinds]

    @property
    def proven(self) -> tuple[Kind, ...]:
        """What is certain: equal content, and contained content unless the training rows contain each other as well."""
        return (Kind.row, Kind.folded, *([Kind.contained] if self.telling(Kind.contained) else []))

    def telling(self, kind: Kind) -> bool:
        """Whether training rows are never so among themselves, or held-out rows more often (95 %, Wilson)."""
        among, looked = self.common.get(kind, (0, 0))
        rate = wilson(len(self.of(kind)), sum(self.held_out.values()))
        return not among or rate.low > wilson(among, looked).high


class _Same(NamedTuple):
    train: Row
    kind: Kind
    similarity: float = 1.0


def leaks(train: Sequence[Row], held_out: Sequence[HeldOut], seed: int = 0) -> Leaks:
    """All leaks, one per held-out row at most. Time and memory are linear in the number of rows."""
    held = [(one, row) for one in held_out for row in one.rows]
    rows, hashed = [row for _, row in held], Hashed(train)
    found = _equal(train, rows)
    left = _unproven(rows, found)
    found |= {left[n]: _Same(train[at], Kind.contained) for n, at in contained(hashed, [rows[n] for n in left])}
    left = _unproven(rows, found)
    found |= {
        left[n]: _Same(train[at], Kind.near, share) for n, at, share in alike(hashed, [rows[n] for n in left], seed)
    }
    ordered = sorted(found.items(), key=lambda item: (ORDER.index(item[1].kind), item[0]))
    return Leaks(
        [_leak(*held[n], same) for n, same in ordered],
        {f"{one.split}.{one.name}": len(one.rows) for one in held_out},
        _common(hashed, {same.kind for same in found.values()}, seed),
    )


def _common(train: Hashed, kinds: Collection[Kind], seed: int) -> dict[Kind, tuple[int, int]]:
    """How often what was found is found among the training rows themselves."""
    picked = random.Random(seed).sample(range(len(train.rows)), min(SAMPLE, len(train.rows)))
    rows = [train.rows[at] for at in picked]
    found: dict[Kind, tuple[int, int]] = {}
    if Kind.contained in kinds:
        found[Kind.contained] = len(list(contained(train, rows))), len(rows)
    if Kind.near in kinds:
        found[Kind.near] = len(list(alike(train, rows, seed))), len(rows)
    return found


def _equal(train: Sequence[Row], rows: Sequence[Row]) -> dict[int, _Same]:
    """Held-out rows that are equal to a turn of a training row, or whose prompt is.

    Every assistant turn of a training conversation counts, so a held-out conversation that is the beginning of a
    longer one is found too.
    """
    asked: dict[tuple[Kind, bytes], list[int]] = {}
    for number, row in enumerate(rows):
        told = _told_by_letters(compared.text(row.columns))
        for key in _keys(row.columns, last=True):
            if told or key[0] is not Kind.folded:
                asked.setdefault(key, []).append(number)
    found: dict[int, _Same] = {}
    for row in train if rows else ():
        for key in _keys(row.columns, last=False):
            for number in asked.pop(key, ()):
                if number not in found or ORDER.index(key[0]) < ORDER.index(found[number].kind):
                    found[number] = _Same(row, key[0])
    return found


def _keys(columns: Mapping[str, Any], last: bool) -> Iterator[tuple[Kind, bytes]]:
    """By what a row is found; of a conversation's answers only the last where that is what is evaluated."""
    last = last and "messages" in columns and "prompt" not in columns
    for turn in list(signature.turns(columns))[-1 if last else 0 :]:
        if turn.whole:
            yield Kind.row, turn.whole
        if turn.prompt:
            yield Kind.prompt, turn.prompt
    label = repr(columns.get("label")).encode("utf-8", "surrogatepass")
    for turn in list(signature.turns(columns, _letters))[-1 if last else 0 :]:
        if turn.whole:
            yield Kind.folded, turn.whole + label


def _letters(text: str) -> str:
    """Letters and digits; decimals with their points, as 1.5 is not 15."""
    decimals = DECIMAL.findall(text) if "." in text else []
    return " ".join([signature.letters(text), *decimals])


def _told_by_letters(text: str) -> bool:
    words, signs = signature.bare(text).split(), len("".join(text.split()))
    prose = len(words) >= FOLDED_WORDS and sum(map(len, words)) >= (1 - FOLDED_SIGNS) * signs
    return prose or len(words) >= FOLDED_LONG


def _unproven(rows: Sequence[Row], found: Mapping[int, _Same]) -> list[int]:
    """Rows to look for by other means: not those found, nor prompts without an answer."""
    return [
        number
        for number, row in enumerate(rows)
        if (number not in found or found[number].kind is Kind.prompt)
        and any(turn.whole for turn in signature.turns(row.columns))
    ]


def _leak(held: HeldOut, row: Row, same: _Same) -> Leak:
    excerpt = " ".join(compared.text(row.columns).split())[:EXCERPT]
    return Leak(held.split, held.name, row.place, same.train.place, same.kind, round(same.similarity, 3), excerpt)
