"""Whether embeddings find the text that belongs to another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import UNIT, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

TOP = 10


@dataclass(kw_only=True)
class Retrieval(Evaluator):
    """Each anchor ranks all positives and negatives of its set by dot product: how early the right ones stand.

    Reciprocal rank of the first, whether it is first, nDCG with gains of 1, and recall at 10. The dot product is the
    cosine where the strategy makes vectors of length 1. Equal texts are one candidate, and every positive of an anchor
    that stands in several rows is right. A wrong candidate with the same similarity stands before a right one, so that
    vectors which are all alike find nothing.
    """

    name: ClassVar[str] = "retrieval"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mrr", bounds=UNIT),
        Metric("accuracy_at_1"),
        Metric("ndcg_at_10", bounds=UNIT),
        Metric("recall_at_10", bounds=UNIT),
    )
    record: ClassVar[str] = "pair"

    def unsuited(self, rows: Sequence[Row]) -> str:
        """Nothing to choose from."""
        distinct = len({row.columns["positive"] for row in rows})
        return "" if distinct > 1 else "all rows have the same positive"

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`mrr`, `accuracy_at_1`, `ndcg_at_10` and `recall_at_10` per row."""
        import numpy as np

        prefix = context.run.strategy.prefix
        answers = _answers(rows)
        anchors = list(answers)
        texts = [row.columns[name] for name in ("positive", "negative") for row in rows if row.columns.get(name)]
        candidates = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        asked = lm.embed([prefix("anchor") + text for text in anchors])
        found = lm.embed([prefix("positive") + text for text in candidates])
        scores = asked.astype(np.float64) @ found.astype(np.float64).T
        relevant = np.zeros(scores.shape, dtype=bool)
        for n, anchor in enumerate(anchors):
            relevant[n, [candidates[text] for text in answers[anchor]]] = True
        measured = {anchor: _ranked(scores[n], relevant[n]) for n, anchor in enumerate(anchors)}
        return [measured[row.columns["anchor"]] for row in rows]


def _answers(rows: Sequence[Row]) -> dict[str, set[str]]:
    """Anchor → all its positives."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.columns["anchor"], set()).add(row.columns["positive"])
    return found


def _ranked(scores: ndarray, relevant: ndarray) -> Stats:
    """Reciprocal rank of the first right candidate, whether it is first, nDCG with gains of 1, and the share found."""
    import numpy as np

    order = np.lexsort((relevant, -scores))  # of equal scores the wrong ones first
    hits = relevant[order]
    first = int(hits.argmax())
    discounts = 1 / np.log2(np.arange(2, TOP + 2))
    top = hits[:TOP]
    ideal = discounts[: int(relevant.sum())].sum()
    gained = float((top * discounts[: len(top)]).sum() / ideal)
    recalled = float(top.sum() / relevant.sum())
    return {
        "mrr": 1 / (first + 1),
        "accuracy_at_1": float(first == 0),
        "ndcg_at_10": gained,
        "recall_at_10": recalled,
    }
