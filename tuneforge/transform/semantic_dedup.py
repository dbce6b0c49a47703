"""Drop rows that mean the same as another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.preparation.compared import Keep, Part
from tuneforge.rows import Kept, Rejected, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class SemanticDedup(Transform):
    """Keep one of rows that mean the same, by the cosine of their embeddings (SemDeDup).

    Rows are clustered by k-means and compared within their cluster, so time grows with the rows and not with their
    square; pairs that two clusters part are not found. A row is dropped when it is as near as `threshold` says to a row
    that stays; rows with different labels both stay. Abbas et al. (2023), SemDeDup, arXiv:2303.09540.
    """

    name: ClassVar[str] = "semantic_dedup"
    extra: ClassVar[str] = "semantic"
    module: ClassVar[str] = "sentence_transformers"

    model: str = ""
    """A sentence-transformers model that embeds the rows: a folder, or a hub name, which is downloaded."""
    threshold: float = 0.95
    """Cosine from which two rows mean the same; what it means depends on the model, so look at what is dropped."""
    compare: Part = Part.row
    """What is compared: row (all its texts), prompt (all before the last answer) or answer."""
    keep: Keep = Keep.first
    """Which row stays: the first, or the longest (of equally long ones the first)."""
    clusters: int | None = None
    """Clusters of k-means; null: one for every 2,000 rows."""

    def check(self, run: Run) -> Iterable[str]:
        """A model, a threshold that means something, clusters."""
        if not self.model:
            yield "model is needed: a sentence-transformers folder or hub name, as model=./all-MiniLM-L6-v2"
        if not 0 < self.threshold <= 1:
            yield f"threshold={self.threshold} is a cosine: above 0 and at most 1"
        if self.clusters is not None and self.clusters < 1:
            yield f"clusters={self.clusters} must be at least 1"

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Rows in order; those that mean the same Rejected, naming the row that stays and the cosine."""
        from tuneforge.preparation import compared, features, semantic

        rows = list(rows)
        texts = [compared.text(row.columns, self.compare) for row in rows]
        some = [number for number in compared.order(texts, self.keep) if texts[number].strip()]
        vectors = features.embeddings([texts[n] for n in some], self.model, "transform.semantic_dedup.model")
        labels = [repr(rows[n].columns.get("label")) for n in some]
        found = {
            some[near.text]: near
            for near in semantic.near(vectors, labels, self.threshold, self.clusters, context.seed)
        }  # fmt: skip
        for number, row in enumerate(rows):
            near = found.get(number)
            yield (
                row
                if near is None
                else Rejected(row, f"same meaning: cosine {near.similarity:.3f} to {rows[some[near.kept]].place}")
            )
