"""Whether length decides: which answers a model prefers, and which of its own are right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.conversation import answer_text, offers
from tuneforge.rows import UNIT, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.settings import Run

OF_PAIRS = ("length_bias", "length_gap", "length_controlled")
OF_ANSWERS = ("length_bias", "length_correlation", "length_ratio")
NONE = dict.fromkeys((*OF_PAIRS, *OF_ANSWERS, "longer", "shorter", "score", "length", "reference", "truncated"), nan)
"""Statistics of a row; those that are not of its kind stay no numbers. A metric of all rows together has the row's
score under its name, which says what rows it is about."""


@dataclass(kw_only=True)
class LengthBias(Evaluator):
    """How far length decides, from 0 (not at all) to 1; length is counted in characters, in any script.

    Of pairs: the difference between the accuracy where the chosen answer is the longer one and where it is the shorter
    one. `length_controlled` is the mean of both: the accuracy, were length to say nothing; the question of
    length-controlled AlpacaEval (Dubois et al., arXiv:2404.04475), answered by two strata instead of a regression.
    Pairs of equal length count in neither. Of generated answers: Spearman's rank correlation of score and length;
    beside it `length_ratio`, characters of all answers over those of all references, and `truncated`, the share cut
    off at 512 tokens. `length_bias` is the absolute value, `length_gap` and `length_correlation` the signed ones,
    above 0 where longer is favoured. A hard question may need a long answer: a correlation is no proof of a bias.
    """

    name: ClassVar[str] = "length_bias"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("length_bias", False, share=False, bounds=UNIT),
        Metric("length_controlled", share=False, bounds=UNIT),
        Metric("length_gap", False, share=False, bounds=(-1.0, 1.0)),
        Metric("longer"),
        Metric("shorter"),
        Metric("length_correlation", False, share=False, bounds=(-1.0, 1.0)),
        Metric("length_ratio", False, share=False, bounds=(0.0, inf)),
        Metric("truncated", False),
    )
    record: ClassVar[str] = "completion"
    max_tokens: ClassVar[int] = 512

    evaluator: str = ""
    """What scores a row: a key of `evaluator`, or an installed one; empty: exact_match for answers, for pairs
    preference_accuracy, or reward_accuracy of a reward model."""

    def check(self, run: Run) -> Iterable[str]:
        """A scorer that is not there, or that scores no rows."""
        from tuneforge.evaluation.behaviour.named import scorer_problems

        yield from scorer_problems(self, self.evaluator, run)

    def serves(self, columns: Mapping[str, Any]) -> bool:
        """Pairs, and rows with an answer."""
        return offers(columns, "preference") or offers(columns, "completion")

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`longer` and `shorter` of pairs; `score`, `length`, `reference` and `truncated` of answers.

        A row with a pair and an answer is a pair where the strategy trains on pairs.
        """
        pairs = [_is_pair(row, context) for row in rows]
        found: list[Stats] = [{}] * len(rows)
        for kind, of in ((True, self._pairs), (False, self._answers)):
            places = [i for i, pair in enumerate(pairs) if pair is kind]
            some = of(lm, [rows[i] for i in places], context) if places else []
            for i, one in zip(places, some, strict=True):
                found[i] = NONE | one
        return found

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """From the accuracies of both strata, and from ranks and sums of the answers."""
        from tuneforge.evaluation.behaviour.means import mean, spearman

        longer, shorter = mean(stats["longer"]), mean(stats["shorter"])
        gap, rank = longer - shorter, spearman(stats["score"], stats["length"])
        there = stats["reference"] > 0
        size = float(stats["reference"][there].sum())
        return {
            "length_bias": abs(rank if gap != gap else gap),
            "length_controlled": (longer + shorter) / 2,
            "length_gap": gap,
            "longer": longer,
            "shorter": shorter,
            "length_correlation": rank,
            "length_ratio": float(stats["length"][there].sum()) / size if size else nan,
            "truncated": mean(stats["truncated"]),
        }

    def _pairs(self, lm: LM, rows: Sequence[Row], context: Context) -> list[dict[str, float]]:
        from tuneforge.evaluation.behaviour.scoring import measured, scorer

        default = "reward_accuracy" if context.run.strategy.head == "reward" else "preference_accuracy"
        right = measured(self, scorer(self, self.evaluator or default, rows, context), lm, rows, context)[0]
        found = []
        for row, score in zip(rows, right, strict=True):
            more = len(answer_text(row.columns, "chosen")) - len(answer_text(row.columns, "rejected"))
            side = "longer" if more > 0 else "shorter"
            found.append(dict.fromkeys((side, *OF_PAIRS), float(score)) if more else {})
        equal = sum(not one for one in found)
        if equal:
            context.note(
                f"length_bias: {equal:,} of {len(rows):,} pairs are of equal length, and count in neither", rows=equal
            )
        return found

    def _answers(self, lm: LM, rows: Sequence[Row], context: Context) -> list[dict[str, float]]:
        from tuneforge.evaluation.behaviour.scoring import judged, scorer

        answers = lm.generate(rows, self.max_tokens)
        right = judged(self, scorer(self, self.evaluator, rows, context), rows, answers, context)
        return [
            {
                **dict.fromkeys(("score", *OF_ANSWERS), float(score)),
                "length": float(len(answer.text)),
                "reference": float(len(answer_text(row.columns))),
                "truncated": float(answer.finish == "length" and not answer.error),
            }
            for row, answer, score in zip(rows, answers, right, strict=True)
        ]


def _is_pair(row: Row, context: Context) -> bool:
    trains = context.run.strategy.record == "preference"
    return offers(row.columns, "preference") and (trains or not offers(row.columns, "completion"))
