"""How many sequences of words answers share with references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.conversation import references
from tuneforge.errors import nearest
from tuneforge.evaluation.answered import AnswerEvaluator, said
from tuneforge.extras import require
from tuneforge.rows import Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.settings import Run

ORDERS = range(4)
TOKENIZERS = ("13a", "intl", "zh", "char", "none")


@dataclass(kw_only=True)
class Bleu(AnswerEvaluator):
    """BLEU of all answers together, from 0 to 100, with any number of references for each.

    Papineni et al. (2002), as sacrebleu computes it for a corpus (Post, arXiv:1804.08771): n-grams of up to four words,
    exponential smoothing, the length of the nearest reference. It is no mean over rows: intervals draw rows, and
    count their n-grams again.
    """

    name: ClassVar[str] = "bleu"
    extra: ClassVar[str] = "metrics"
    module: ClassVar[str] = "sacrebleu"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("bleu", bounds=(0.0, 100.0)),)
    record: ClassVar[str] = "completion"

    tokenize: str = "13a"
    """How sacrebleu finds words: 13a (the usual one), intl, zh (Chinese), char (every character) or none (spaces)."""

    def check(self, run: Run) -> Iterable[str]:
        """A tokenizer that is known, and needs nothing from the network."""
        yield from super().check(run)
        if self.tokenize not in TOKENIZERS:
            allowed = ", ".join(TOKENIZERS)
            yield f"tokenize={self.tokenize}: needs one of {allowed}.{nearest(self.tokenize, TOKENIZERS)}"

    def score(self, row: Row, answer: Answer) -> Stats:
        """Matched (`right.1` …) and said (`said.1` …) n-grams, `length`, and the `reference` length.

        An answer with an error says nothing.
        """
        found = self._bleu.corpus_score([said(answer)], [[text] for text in references(row.columns)])
        stats = {"length": float(found.sys_len), "reference": float(found.ref_len)}
        for n in ORDERS:
            stats |= {f"right.{n + 1}": float(found.counts[n]), f"said.{n + 1}": float(found.totals[n])}
        return stats

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """sacrebleu's BLEU of the sums."""
        right, total = ([int(stats[f"{side}.{n + 1}"].sum()) for n in ORDERS] for side in ("right", "said"))
        lengths = [int(stats[name].sum()) for name in ("length", "reference")]
        found = self._bleu.compute_bleu(right, total, *lengths, smooth_method="exp")
        return {"bleu": float(found.score)}

    @cached_property
    def _bleu(self) -> Any:
        require("sacrebleu", "metrics", "evaluator=bleu")
        from sacrebleu.metrics import BLEU

        return BLEU(tokenize=self.tokenize, force=True)
