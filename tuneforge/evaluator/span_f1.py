"""Whether whole entities are found, with their kind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import UNIT, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

PREFIXES = ("B", "I", "E", "S")


class Reading(StrEnum):
    """What counts as an entity."""

    lenient = "lenient"
    strict = "strict"


@dataclass(kw_only=True)
class SpanF1(Evaluator):
    """F1, precision and recall of entities: one is right where first word, last word and kind are.

    All entities of all rows count together, as in CoNLL's script and in seqeval. Read leniently (seqeval's
    default), an `I-` without a `B-` begins an entity; strictly (seqeval's IOB2), only `B-` does.
    """

    name: ClassVar[str] = "span_f1"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("f1", bounds=UNIT),
        Metric("precision", bounds=UNIT),
        Metric("recall", bounds=UNIT),
    )
    record: ClassVar[str] = "tags"

    reading: Reading = Reading.lenient
    """lenient: tags that are no valid BIO still make entities; strict: they do not."""

    def unsuited(self, rows: Sequence[Row]) -> str:
        """Tags that mark no spans."""
        marked = any(tag[1:2] == "-" and tag[0] in PREFIXES for row in rows for tag in row.columns["tags"])
        return "" if marked else "no tag begins with B- or I-, so there are no entities"

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`right`, `predicted` and `true` entities per row."""
        read = strict_spans if self.reading is Reading.strict else spans
        found = []
        for row, tags in zip(rows, lm.tag(rows), strict=True):
            predicted, true = read(tags), read(row.columns["tags"])
            right = len(set(predicted) & set(true))
            found.append({"right": float(right), "predicted": float(len(predicted)), "true": float(len(true))})
        return found

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """From sums over the rows; 0 where there was something to find and nothing right."""
        right, predicted, true = (float(stats[name].sum()) for name in ("right", "predicted", "true"))
        if not predicted + true:
            return {"f1": math.nan, "precision": math.nan, "recall": math.nan}
        return {
            "f1": 2 * right / (predicted + true),
            "precision": right / predicted if predicted else 0.0,
            "recall": right / true if true else 0.0,
        }


Span = tuple[str, int, int]
"""Kind, first and last word."""


def spans(tags: Sequence[str]) -> list[Span]:
    """Entities as CoNLL's evaluation script reads BIO, IOE and BIOES: a change of kind begins one too."""
    found, begun = [], 0
    before, kind_before = "O", ""
    for at, tag in enumerate([*tags, "O"]):
        letter, kind = _read(tag)
        if _ends(before, letter, kind_before, kind):
            found.append((kind_before, begun, at - 1))
        if _begins(before, letter, kind_before, kind):
            begun = at
        before, kind_before = letter, kind
    return found


def _read(tag: str) -> tuple[str, str]:
    """(letter, kind): `("B", "person")` of `B-person`, `("O", "")` of `O`; a bare letter is of the kind `_`."""
    letter, _, kind = tag.partition("-")
    return ("O", "") if letter == "O" else (letter, kind or "_")


def _ends(before: str, letter: str, kind_before: str, kind: str) -> bool:
    if before == "O":
        return False
    return before in "ES" or letter in ("O", "B", "S") or kind != kind_before


def _begins(before: str, letter: str, kind_before: str, kind: str) -> bool:
    if letter == "O":
        return False
    return letter in "BS" or before in ("O", "E", "S") or kind != kind_before


def strict_spans(tags: Sequence[str]) -> list[Span]:
    """Entities of valid BIO alone: a `B-X` with the `I-X` that follow it."""
    found: list[Span] = []
    kind_open, begun = "", 0
    for at, tag in enumerate([*tags, "O"]):
        letter, kind = _read(tag)
        if kind_open and not (letter == "I" and kind == kind_open):
            found.append((kind_open, begun, at - 1))
            kind_open = ""
        if letter == "B":
            kind_open, begun = kind, at
    return found
