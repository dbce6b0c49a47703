"""How alike an answer and a reference are to a model that reads both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context
from tuneforge.conversation import references
from tuneforge.evaluation.answered import AnswerEvaluator, said
from tuneforge.rows import Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from tuneforge.evaluation.token_vectors import TokenVectors
    from tuneforge.settings import Run

TOGETHER = 64
"""Rows whose token vectors are in memory at once."""


@dataclass(kw_only=True)
class BertScore(AnswerEvaluator):
    """BERTScore (arXiv:1904.09675): each token is matched with the most similar one of the other text.

    F1, precision (tokens of the answer) and recall (of the reference) of the cosine similarities, at most 1, without
    idf weights and without rescaling, as the library bert-score computes them; special tokens weigh nothing. Of several
    references each figure takes the best. The model is any folder that transformers reads; numbers of different models
    or layers do not compare. Texts longer than it reads are cut, which is counted and said.
    """

    name: ClassVar[str] = "bert_score"
    metrics: ClassVar[tuple[Metric, ...]] = tuple(
        Metric(name, bounds=(-1.0, 1.0)) for name in ("bert_score", "precision", "recall")
    )
    record: ClassVar[str] = "completion"

    model: str = ""
    """Folder, run directory or hub name of the model that reads both texts."""
    layer: int | None = None
    """Layer whose vectors are compared, 0 for the embeddings; null: the last. The paper takes 17 of roberta-large."""

    def check(self, run: Run) -> Iterable[str]:
        """A model is needed."""
        yield from super().check(run)
        if not self.model:
            yield "model is empty: name a model folder or a hub name, as evaluator.bert_score.model=./roberta-large"

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """`bert_score`, `precision` and `recall` of each answer. One with an error has none of them."""
        from tuneforge.evaluation.token_vectors import TokenVectors

        reader, found = TokenVectors(context.frozen(self.model, "embedding"), self.layer, self.model, context), []
        for begin in range(0, len(rows), TOGETHER):
            end = begin + TOGETHER
            found += _scored(reader, rows[begin:end], answers[begin:end])
        if reader.cut:
            context.note(
                f"bert_score: {len(reader.cut):,} texts are cut at {reader.limit:,} tokens, as {self.model} reads"
            )
        return found


def _scored(reader: TokenVectors, rows: Sequence[Row], answers: Sequence[Answer]) -> list[Stats]:
    """The best of each figure over the references of each row."""
    from tuneforge.evaluation.token_vectors import matched

    sides = [(said(answer), references(row.columns)) for row, answer in zip(rows, answers, strict=True)]
    vectors = reader.read({text for answer, right in sides for text in (answer, *right)})
    figures = [[matched(vectors[answer], vectors[text]) for text in right] for answer, right in sides]
    best = [[max(column) for column in zip(*one, strict=True)] for one in figures]
    return [dict(zip(("precision", "recall", "bert_score"), one, strict=True)) for one in best]
