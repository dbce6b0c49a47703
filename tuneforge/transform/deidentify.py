"""Replace personal data by placeholders or made-up values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.rows import Kept, Row

if TYPE_CHECKING:
    from tuneforge.preparation.personal.treatment import Treatment
    from tuneforge.settings import Run

BATCH = 256
"""Rows that a model tags together."""


class Mode(StrEnum):
    """What becomes of personal data."""

    placeholder = "placeholder"
    surrogate = "surrogate"
    drop = "drop"


class Scope(StrEnum):
    """Where a value gets the same replacement."""

    row = "row"
    group = "group"
    dataset = "dataset"


class Engine(StrEnum):
    """What finds personal data, beside the patterns."""

    core = "core"
    presidio = "presidio"
    model = "model"


@dataclass(kw_only=True)
class Deidentify(Transform):
    """Personal data is found by patterns with checksums and replaced alike wherever it stands in a row.

    Every text is read: documents, prompts, all answers, system messages, tools, words. What was found once is replaced
    in the whole row. Patterns know no names: only those that the words around them give away (`Mr X`, `my name is X`).
    Evaluation sets are treated too, for their rows stand in samples and report. Rows keep no trace of what stood there;
    the mapping is written only where it is asked for, outside the run directory or encrypted.
    """

    name: ClassVar[str] = "deidentify"
    held_out: ClassVar[bool] = True
    private: ClassVar[bool] = True

    entities: list[str] = field(default_factory=list)
    """Kinds to replace, as EMAIL or PHONE; empty: all but DATE, AGE and URL, and all that presidio or a model finds."""
    mode: Mode = Mode.placeholder
    """placeholder ([EMAIL_1]), surrogate (made up, of the same form, nobody's) or drop (the row is rejected)."""
    scope: Scope = Scope.row
    """Where a value gets one replacement: row (a conversation), group (rows of one group) or dataset (all sets)."""
    patterns: list[str] = field(default_factory=list)
    """Further kinds as NAME=regex; of a regex with a group the first group is replaced, else all that matches."""
    allow: list[str] = field(default_factory=list)
    """Values that stay, whatever their case; one that begins with @ keeps all addresses of that domain."""
    engine: Engine = Engine.core
    """core (patterns), presidio (its recognisers too, without a language model) or model (a tagger's entities too)."""
    model: str | None = None
    """With engine=model: folder of a model trained with strategy=token_classification."""
    mapping: str | None = None
    """File that says what stands for whom, for its owner alone, outside the run directory; null: not written."""
    mapping_key: str | None = field(default=None, metadata={"secret": True})
    """Fernet key, as ${oc.env:NAME}, that encrypts the mapping; without a file it is data/mapping.jsonl.fernet."""

    def check(self, run: Run) -> Iterable[str]:
        """Kinds, patterns, engine and mapping that cannot be served."""
        from tuneforge.preparation.personal import rules

        return rules.problems(self, run)

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Rows with replacements, or Rejected naming the kinds found or the pattern that took too long."""
        file = self._treatment.begin(context)
        stream = iter(rows)
        while batch := list(islice(stream, BATCH)):
            yield from self._treatment.treated(batch, context)
        self._treatment.close(file)

    @cached_property
    def _treatment(self) -> Treatment:
        """What is remembered from one set to the next: replacements of the dataset, patterns that took too long."""
        from tuneforge.preparation.personal.treatment import Treatment

        return Treatment(self)
