"""What a model repeats of its training rows, word for word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.conversation import answer_text, offers
from tuneforge.rows import Answer, Metric, Row, Stats, content_hash

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.settings import Run

WORDS = 200
"""Words of a text, at most, that it is begun with."""


@dataclass(kw_only=True)
class Verbatim(Evaluator):
    """Share of training rows whose continuation the model repeats word for word when it is given the beginning.

    A row is repeated where the first 50 tokens that the model adds (greedily) are those of the row, or where it gives
    the whole rest: extractable in the sense of Carlini et al. (arXiv:2202.07646). The beginning of a text is its first
    half, 200 words at most; that of a row with an answer is its prompt. Runs of white space count as one blank. Rows
    whose rest is short are left out, and counted: a class or a number is a right answer, not a memory. `longest` is
    the mean length of the common beginning in characters. A base model repeats what is predictable or widely known:
    what tuning memorised is the difference to it. Training rows take no part in the verdict.
    """

    name: ClassVar[str] = "verbatim"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("verbatim", False), Metric("longest", False, bounds=(0.0, inf)))
    record: ClassVar[str] = "text"
    memorised: ClassVar[bool] = True

    tokens: int = 50
    """Tokens that have to be repeated; a rest that is shorter has to be repeated whole."""
    least: int = 100
    """Characters that the rest of a row needs to be asked for."""

    def check(self, run: Run) -> Iterable[str]:
        """Bounds below one, and models that generate nothing."""
        if self.tokens < 1 or self.least < 1:
            yield f"tokens={self.tokens}, least={self.least}: must be 1 or more"
        if run.strategy.head != "causal_lm":
            yield f"strategy={run.strategy.name} makes a model that generates no text, so it repeats none"

    def serves(self, columns: Mapping[str, Any]) -> bool:
        """Texts, and rows with an answer."""
        return offers(columns, "text") or offers(columns, "completion")

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`verbatim` (1 or 0) and `longest` of each row that is long enough; no numbers of the others."""
        begun = [_begun(row) for row in rows]
        places = [i for i, (_, rest) in enumerate(begun) if len(rest) >= self.least]
        answers = lm.generate([begun[i][0] for i in places], self.tokens) if places else []
        found: list[Stats] = [{"verbatim": nan, "longest": nan}] * len(rows)
        for i, answer in zip(places, answers, strict=True):
            found[i] = self._repeated(answer, begun[i][1])
        self._say(len(rows), len(places), sum(bool(answer.error) for answer in answers), context)
        return found

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Means over the rows that were asked."""
        from tuneforge.evaluation.behaviour.means import mean

        return {metric.name: mean(stats[metric.name]) for metric in self.metrics}

    def _repeated(self, answer: Answer, rest: str) -> Stats:
        # The last token may end within a character.
        said = " ".join(answer.text.rstrip("\ufffd").split())
        enough = answer.tokens >= self.tokens and bool(said)
        whole = said.startswith(rest) or (enough and rest.startswith(said))
        return {"verbatim": float(whole and not answer.error), "longest": float(_common(said, rest))}

    def _say(self, rows: int, asked: int, failed: int, context: Context) -> None:
        if asked < rows:
            text = f"{rows - asked:,} of {rows:,} training rows have fewer than {self.least} characters to repeat"
            context.note(f"verbatim: {text}, and are left out", rows=rows - asked)
        if failed:
            text = f"{failed:,} of {asked:,} rows could not be asked, and count as not repeated"
            context.note(f"verbatim: {text}", rows=failed)


def _common(one: str, other: str) -> int:
    """Characters of the common beginning."""
    unlike = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(unlike, min(len(one), len(other)))


def _begun(row: Row) -> tuple[Row, str]:
    """The row to ask with, and what should follow, with single blanks."""
    if offers(row.columns, "completion"):
        return row, " ".join(answer_text(row.columns).split())
    text = row.columns["text"]
    count = min(len(text.split()) // 2, WORDS)
    # Up to the end of a word: a tokenizer joins the blank to the word that follows. A script without blanks is cut
    # between characters.
    end = len(text) - len(text.split(maxsplit=count)[-1]) if count else min(len(text) // 2, WORDS * 5)
    begun, rest = text[:end].rstrip(), text[end:]
    columns = {"text": begun}
    return replace(row, columns=columns, id=content_hash(columns)), " ".join(rest.split())
