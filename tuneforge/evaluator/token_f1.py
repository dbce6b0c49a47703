"""How many words an answer shares with a reference."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from tuneforge.conversation import references
from tuneforge.evaluation.answered import AnswerEvaluator, said
from tuneforge.evaluation.squad import normalised
from tuneforge.rows import UNIT, Answer, Metric, Row, Stats

Shares = tuple[float, float, float]


@dataclass(kw_only=True)
class TokenF1(AnswerEvaluator):
    """F1, precision and recall of the words of an answer, in [0, 1], against the reference that is nearest.

    Words are compared as SQuAD does (Rajpurkar et al., arXiv:1606.05250): without case, ASCII punctuation and English
    articles, split at white space. An answer without words is right where a reference has none either, as in SQuAD 2.0.
    Texts in scripts that put no space between words are one word.
    """

    name: ClassVar[str] = "token_f1"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("token_f1", bounds=UNIT),
        Metric("precision", bounds=UNIT),
        Metric("recall", bounds=UNIT),
    )
    record: ClassVar[str] = "completion"

    def score(self, row: Row, answer: Answer) -> Stats:
        """`token_f1`, `precision` and `recall` against the best reference. An answer with an error has none of them."""
        words = Counter(normalised(said(answer)).split())
        found = [_shares(words, Counter(normalised(text).split())) for text in references(row.columns)]
        best = (0.0, 0.0, 0.0) if answer.error else max(found)
        return dict(zip(("token_f1", "precision", "recall"), best, strict=True))


def _shares(words: Counter[str], reference: Counter[str]) -> Shares:
    """F1, precision and recall."""
    if not words or not reference:
        equal = float(not words and not reference)
        return equal, equal, equal
    both = (words & reference).total()
    precision, recall = both / words.total(), both / reference.total()
    return 2 * both / (words.total() + reference.total()), precision, recall
