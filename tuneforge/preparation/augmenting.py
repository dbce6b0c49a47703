"""What every augmentation shares: which texts it may change, its budget, its guard, and where a row comes from."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tuneforge.components import Context, Transform
from tuneforge.conversation import Passage, passages, rewritten
from tuneforge.errors import ConfigError
from tuneforge.preparation import meaning
from tuneforge.preparation.additions import Places, dropped_behind
from tuneforge.rows import Kept, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run

SIGN = "~"
"""Between the line of a row and the number of what was made of it: `12~1`."""
BLOCK = 256
"""Texts that are changed and judged at a time."""
ANSWERS = ("completion", "chosen", "rejected", "positive", "negative")


class Text(NamedTuple):
    """A text that may be changed."""

    text: str
    kept: frozenset[str]
    """Words in lower case that must stand."""
    draw: random.Random
    """Of this row alone, so that a change does not depend on what else is changed."""


@dataclass(kw_only=True)
class Augmentation(Transform):
    """Adds changed rows to the training data, at most `share` of them; the rows themselves stay as they are.

    What is made of the row at `train.jsonl:12` stands at `12~1`, with the transform in its history. Documents, and what
    a user says, may be changed, of a row with a label its text; answers only where `answers` is set; what a system or
    a tool says, code, links, tags and placeholders never. Rows of words with tags are left alone. A guard compares the
    texts and rejects a change that does not keep negations, numbers, names, limits (all, before, if, …), questions, and
    the words that also stand in the row's label or answer, or that is too unlike; what it rejects is counted by reason.
    """

    share: float = 0.2
    """Rows added at most, as a share of the rows that there are."""
    answers: bool = False
    """Change answers too; else documents and what a user says alone."""
    min_likeness: float = 0.5
    """Least likeness of the wording before and after: Dice's coefficient of character trigrams, 0 to 1."""
    semantic_model: str = ""
    """A sentence-transformers model (a folder or a hub name) that compares the meaning too; empty: wording alone."""
    min_cosine: float = 0.8
    """Least cosine of that model's embeddings of both texts."""

    def check(self, run: Run) -> Iterable[str]:
        """Values out of range, and rows whose tags stand at words."""
        key = f"transform.{self.name}"
        if not 0 < self.share < float("inf"):
            yield f"{key}.share={self.share} must be above 0: the share of rows that may be added"
        if not 0 <= self.min_likeness <= 1:
            yield f"{key}.min_likeness={self.min_likeness} must be in [0, 1]"
        if not -1 <= self.min_cosine <= 1:
            yield f"{key}.min_cosine={self.min_cosine} must be in [-1, 1]"
        if self.semantic_model and find_spec("sentence_transformers") is None:
            yield f"{key}.semantic_model needs sentence_transformers: pip install 'tuneforge[semantic]'"
        if self.semantic_model.startswith((".", "/", "~")) and not Path(self.semantic_model).expanduser().is_dir():
            yield f"{key}.semantic_model={self.semantic_model}: no such folder"
        yield from dropped_behind(self, run, ("near_dedup", "semantic_dedup"))
        if run.strategy.record == "tags":
            yield f"{key} changes texts, and strategy={run.strategy.name} trains on tags that stand at words"

    def change(self, texts: Sequence[Text], context: Context) -> Iterable[str]:
        """Each text changed, in order; the text itself where nothing can be changed."""
        raise NotImplementedError

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """The rows in order, each followed by what was made of it."""
        given = list(rows)
        made = self._made(given, context)
        places = Places(given)
        for number, row in enumerate(given):
            yield row
            if number in made:
                yield places.made(row, SIGN, made[number])

    def _made(self, given: Sequence[Row], context: Context) -> dict[int, Mapping[str, Any]]:
        """Place → changed columns, within the budget: rows are tried in a seeded order until it is spent."""
        budget = int(self.share * len(given))
        texts = [self._texts(row) for row in given]
        order = [n for n, found in enumerate(texts) if found and SIGN not in str(given[n].line)]
        if without := sum(not found for found in texts):
            context.counts["rows without a text that may be changed"] += without
        random.Random(f"{context.seed}:{self.name}").shuffle(order)
        made: dict[int, Mapping[str, Any]] = {}
        for block in context.progress(list(_blocks(order, texts)), f"transform.{self.name}"):
            if len(made) >= budget:
                break
            for number, columns in self._changed(block, given, texts, context):
                if len(made) < budget:
                    made[number] = columns
        if given and not budget:
            context.note(f"{self.name}: share={self.share} of {len(given):,} rows allows not one more")
        if len(made) < budget:
            context.note(
                f"{self.name}: {len(made):,} of {budget:,} rows added: no more could be changed without changing"
                " what they say"
            )
        return made

    def _texts(self, row: Row) -> list[Passage]:
        return [p for p in passages(row.columns) if self._may(p)] if row.columns.get("tokens") is None else []

    def _may(self, passage: Passage) -> bool:
        answer = passage.role == "assistant" or passage.place.split("[")[0] in ANSWERS
        return bool(passage.text.strip()) and (self.answers if answer else passage.role in ("", "user"))

    def _changed(
        self, block: Sequence[int], given: Sequence[Row], texts: Sequence[list[Passage]], context: Context
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """(place, columns) of the rows in the block that came out changed and right."""
        whole = [
            (
                number,
                passage,
                Text(passage.text, self._kept(given[number]), self._draw(given[number], passage, context)),
            )
            for number in block
            for passage in texts[number]
        ]
        after = list(self.change([text for *_, text in whole], context))
        context.counts["texts tried"] += len(whole)
        good: dict[int, dict[str, str]] = {}
        reasons = self._reasons([(text, new) for (*_, text), new in zip(whole, after, strict=True)])
        for (number, passage, _), new, reason in zip(whole, after, reasons, strict=True):
            context.counts[f"rejected: {reason}" if reason else "accepted"] += 1
            if not reason:
                good.setdefault(number, {})[passage.place] = new
        for number, by_place in good.items():
            yield number, rewritten(given[number].columns, lambda p, new=by_place: new.get(p.place, p.text))  # type: ignore[misc]

    def _draw(self, row: Row, passage: Passage, context: Context) -> random.Random:
        return random.Random(f"{context.seed}:{self.name}:{row.source}:{row.file}:{row.line}:{passage.place}")

    def _kept(self, row: Row) -> frozenset[str]:
        """Words of the label, and of answers that are not changed along."""
        label = row.columns.get("label")
        found = [str(one) for one in label] if isinstance(label, list) else [str(label)] if label is not None else []
        if not self.answers:
            found += [p.text for p in passages(row.columns) if p.role == "assistant"]
        return frozenset(w for text in found for w in meaning.words(text.replace("_", " "))) - meaning.FUNCTION

    def _reasons(self, pairs: Sequence[tuple[Text, str]]) -> list[str]:
        """Why a change is rejected, in order; empty: it is not."""
        reasons = [meaning.lost(text.text, new, text.kept) for text, new in pairs]
        for i, (text, new) in enumerate(pairs):
            if not reasons[i] and meaning.likeness(text.text, new) < self.min_likeness:
                reasons[i] = "unlike"
        if self.semantic_model:
            left = [i for i, reason in enumerate(reasons) if not reason]
            for i, cosine in zip(left, self._cosines([(pairs[i][0].text, pairs[i][1]) for i in left]), strict=True):
                if cosine < self.min_cosine:
                    reasons[i] = "other meaning"
        return reasons

    def _cosines(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        from tuneforge.preparation.features import embeddings

        if not pairs:
            return []
        try:
            found = embeddings([text for pair in pairs for text in pair], self.semantic_model)
        except ConfigError as error:
            said = str(error).replace("features=", f"transform.{self.name}.semantic_model=")
            raise ConfigError(said) from error
        return [float(x) for x in (found[0::2] * found[1::2]).sum(1)]


def _blocks(order: Sequence[int], texts: Sequence[Sequence[Passage]]) -> Iterator[list[int]]:
    """Places in blocks of about BLOCK texts."""
    block: list[int] = []
    count = 0
    for number in order:
        block.append(number)
        count += len(texts[number])
        if count >= BLOCK:
            yield block
            block, count = [], 0
    if block:
        yield block


def like(old: str, new: str) -> str:
    """The new word in the case of the old one."""
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() else new
