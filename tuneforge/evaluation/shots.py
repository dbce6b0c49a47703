"""Training rows as examples in a prompt: which may be shown, and which are."""

from __future__ import annotations

import heapq
import math
import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from tuneforge.conversation import answer_text, offers, split
from tuneforge.evaluation.lexical import Ranking
from tuneforge.evaluation.lm import HFLM, row_key
from tuneforge.evaluation.prompt import Prompt, question
from tuneforge.preparation.view import View
from tuneforge.rows import HeldOut, Row
from tuneforge.sections import Selection

if TYPE_CHECKING:
    from tuneforge.settings import Run

SOURCES = 3
"""Random shots are tried from at most so many sources, the largest first."""
POOL = 20_000
"""Rows, a seeded sample of more, among which the nearest are sought."""
FIRST = 1_000
"""Rows of each source, the first by hash, among which the fixed ones are chosen."""


@dataclass(frozen=True)
class Nearest:
    """For each question the `count` rows whose questions share most with it (BM25), the most similar one last."""

    rows: Sequence[Row]
    count: int
    _memory: dict[str, list[Row]] = field(default_factory=dict, repr=False, compare=False)

    def to(self, asked: str) -> list[Row]:
        """The rows; none whose question is the very same."""
        if asked not in self._memory:
            found = (self.rows[place] for place in self._ranking.top(asked, 2 * self.count + 8))
            others = [row for row in found if question(row.columns) != asked][: self.count]
            self._memory[asked] = others[::-1]
        return self._memory[asked]

    @cached_property
    def _ranking(self) -> Ranking:
        return Ranking(question(row.columns) for row in self.rows)


class Pool:
    """The training rows that may be shown: each once, with an answer, and nothing that a held-out set asks."""

    def __init__(self, run: Run, held_out: Sequence[HeldOut], train: Sequence[Row]) -> None:
        self.run = run
        kept = {row_key(row) for held in held_out for row in held.rows}
        asked = {conversation_before(row) for held in held_out for row in held.rows}
        by_source: dict[str, array[int]] = {}
        seen: set[int] = set()  # hashes, as the training rows may be more than fit memory
        for place, row in enumerate(train):
            key = row_key(row)
            known = hash((row.source, key))
            if known in seen or key in kept or not offers(row.columns, "completion"):
                continue
            if conversation_before(row) in asked:
                continue
            seen.add(known)
            by_source.setdefault(row.source, array("q")).append(place)
        largest = sorted(by_source, key=lambda source: -len(by_source[source]))
        self.sources = {source: View(train, by_source[source]) for source in largest}

    def __len__(self) -> int:
        return sum(map(len, self.sources.values()))

    def prompts(self, base: HFLM, asking: Prompt, count: int, rows: Sequence[Row]) -> Iterator[tuple[str, Prompt]]:
        """(name, prompt) of `count` shots by each selection, on top of another way of asking."""
        for selection in self.run.baseline.selection:
            for source, candidates in self._ordered(selection, count):
                if selection is Selection.nearest:
                    found = tuple(candidates)
                    nearest, number = Nearest(found, count), min(count, len(found))
                else:
                    found, nearest = tuple(_fitting(base, asking, candidates, count, rows)), None
                    number = len(found)
                said = {Selection.random: "", Selection.fixed: " fixed", Selection.nearest: " nearest"}[selection]
                name = f"{number}-shot{said}{source}"
                if number:
                    yield name, replace(asking, name=name, examples=found, nearest=nearest)

    def _ordered(self, selection: Selection, count: int) -> Iterator[tuple[str, Sequence[Row]]]:
        """(what the name says of the source, rows in the order in which they are tried)."""
        draw = random.Random(self.run.seed)
        if selection is Selection.fixed:
            yield "", _unlike(self.sources.values())
        elif selection is Selection.nearest:
            rows = list(chain.from_iterable(self.sources.values())) if len(self) <= POOL else self._sample(draw)
            yield "", rows
        else:
            largest = list(self.sources)[:SOURCES]
            for source in largest:
                pool = self.sources[source]
                name = f" {source.removeprefix('data.')}" if len(largest) > 1 else ""
                yield name, random.Random(self.run.seed).sample(pool, min(len(pool), 8 * count))

    def _sample(self, draw: random.Random) -> list[Row]:
        """POOL rows of all sources, in their order."""
        places = sorted(draw.sample(range(len(self)), POOL))
        starts, found = 0, []
        for view in self.sources.values():
            found += [view[place - starts] for place in places if starts <= place < starts + len(view)]
            starts += len(view)
        return found


def _unlike(sources: Iterable[Sequence[Row]]) -> list[Row]:
    """The first rows of each source by their hash, sources by turns; rows whose answer has not been shown first."""
    firsts = []
    for view in sources:
        shown: dict[str, int] = {}
        first = heapq.nsmallest(FIRST, view, key=row_key)
        turns = [shown.setdefault(answer_text(row.columns), 0) for row in first]
        for place, row in enumerate(first):
            answer = answer_text(row.columns)
            turns[place], shown[answer] = shown[answer], shown[answer] + 1
        firsts.append([row for _, row in sorted(zip(turns, first, strict=True), key=lambda pair: pair[0])])
    return [row for turn in zip_longest(*firsts) for row in turn if row is not None]


def _fitting(base: HFLM, asking: Prompt, tried: Iterable[Row], count: int, rows: Sequence[Row]) -> list[Row]:
    """The first `count` rows that leave room in the context for the longest prompt."""
    longest = max(rows, key=lambda row: len(conversation_before(row)), default=None)
    shots: list[Row] = []
    for row in tried:
        if len(shots) == count:
            break
        asked, one = longest or row, replace(asking, examples=(*shots, row))
        length = tokens(base, one, asked, one.shots(asked))
        if length is not None and length <= room(base):
            shots.append(row)
    return shots


def tokens(base: HFLM, asking: Prompt, row: Row, shots: Sequence[Row] = ()) -> int | None:
    """How long the prompt is; None where it cannot be rendered, which is counted where the row is asked or trained."""
    from tuneforge.training.text.render import RenderError, prompt_ids

    try:
        return len(prompt_ids(asking.columns(row), base.tokenizer, shots))
    except RenderError:
        return None


def room(base: HFLM) -> float:
    """Tokens that a prompt may have: a quarter of the context is for the answer."""
    return math.inf if base.context is None else base.context * 3 // 4


def conversation_before(row: Row) -> str:
    """What is asked, as text that is equal for equal prompts."""
    parts = split(row.columns)
    return repr([(m["role"], m["content"]) for m in parts[0]]) if parts else row_key(row)
