"""Drop texts that published rules for web text call bad."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.conversation import Passage, passages
from tuneforge.rows import Kept, Rejected, Row
from tuneforge.transform.cleaning.signals import C4, Boilerplate, FineWeb, GopherQuality, GopherRepetition, Texts

if TYPE_CHECKING:
    from tuneforge.settings import Run


class Rule(StrEnum):
    """A published set of signals and thresholds."""

    gopher_quality = "gopher_quality"
    gopher_repetition = "gopher_repetition"
    c4 = "c4"
    fineweb = "fineweb"
    boilerplate = "boilerplate"


@dataclass(kw_only=True)
class Quality(Transform):
    """Drop rows with a text that is too short or long, repeats itself, or is symbols, lists or boilerplate.

    The published rules are for documents (`text` without a label) and judge those alone: a good answer may be one word.
    Boilerplate is looked for in answers too (what assistants say, `rejected` excepted). `judged` of each rule says
    which texts it judges. Training rows only. What is dropped names the rule, the signal, its value and the threshold.
    """

    name: ClassVar[str] = "quality"

    rules: list[Rule] = field(default_factory=lambda: [Rule.gopher_quality, Rule.gopher_repetition, Rule.boilerplate])
    """Which rules: gopher_quality, gopher_repetition, c4, fineweb, boilerplate."""
    gopher_quality: GopherQuality = field(default_factory=GopherQuality)
    """Rae et al. 2021: 50 to 100,000 words of 3 to 10 letters on average, at most 0.1 symbols per word, 90 % bullets,
    30 % ellipses, at least 80 % words with letters and 2 English stop words."""
    gopher_repetition: GopherRepetition = field(default_factory=GopherRepetition)
    """Rae et al. 2021: repeated lines, paragraphs and runs of words."""
    c4: C4 = field(default_factory=C4)
    """Raffel et al. 2020: no lorem ipsum, no curly bracket, 3 sentences in lines that end with a mark."""
    fineweb: FineWeb = field(default_factory=FineWeb)
    """Penedo et al. 2024: lines that end with a mark, repeated and short lines."""
    boilerplate: Boilerplate = field(default_factory=Boilerplate)
    """Phrases of assistants and of pages."""

    def check(self, run: Run) -> Iterable[str]:
        """At least one rule."""
        if not self.rules:
            yield f"rules=[] judges nothing; choose of {', '.join(Rule)}"

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Rows whose texts are within the bounds; the others Rejected as `rule signal: value, bound; place`."""
        for row in rows:
            problem = next(self._problems(row, context), "")
            yield Rejected(row, problem) if problem else row

    def _problems(self, row: Row, context: Context) -> Iterator[str]:
        for passage in passages(row.columns):
            kind = _kind(row, passage)
            for rule in self.rules if kind else ():
                settings = getattr(self, rule)
                if settings.judged not in (kind, Texts.both):
                    continue
                context.counts[f"{rule} judged"] += 1
                for signal in settings.signals(passage.text):
                    yield f"{rule} {signal.name}: {signal.value:.3g}, {signal.bound}; {passage.place}"


def _kind(row: Row, passage: Passage) -> Texts | None:
    """documents or answers; None for prompts, texts with a label, and rejected answers."""
    if passage.place == "text":
        return None if "label" in row.columns else Texts.documents
    judged = passage.place.partition("[")[0] in ("completion", "messages", "chosen")
    return Texts.answers if judged and passage.role == "assistant" else None
