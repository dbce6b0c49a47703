"""How good a teacher finds an answer, by criteria."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import UNIT, Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.evaluation.judging.questions import Asking
    from tuneforge.settings import Run

BY = "by_"
"""Prefix of the statistics that hold one judge's scores."""


@dataclass(kw_only=True)
class Rubric(Evaluator):
    """Score from 1 to `scale` that judges give the answer: the mean over criteria, then over judges.

    Judges are teachers (G-Eval, Liu et al., arXiv:2303.16634, without its chain of steps). Each criterion is a metric
    of its own. An answer with an error gets 1. A reply that is not a whole number from 1 to `scale` for each criterion
    is invalid: the judge has no say on that row, and where nobody has, the row is left out and `valid` falls. Of
    several judges `alpha` is Krippendorff's (interval). As a reward an answer without a score gets the mean of the
    others. On any rows with a prompt.
    """

    name: ClassVar[str] = "rubric"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("score", share=False),
        Metric("valid", bounds=UNIT),
        Metric("alpha", share=False, bounds=(-inf, 1.0)),
    )
    record: ClassVar[str] = "prompt"

    teachers: list[str] = field(default_factory=list)
    """Keys of the teachers that judge; empty: the only one that is configured."""
    criteria: list[str] = field(
        default_factory=lambda: ["helpfulness: it does what was asked", "accuracy: what it says is right", "clarity"]
    )
    """What to judge by, each a name, or a name and what it means: `accuracy: the facts are right`."""
    scale: int = 10
    """The best score; 1 is the worst."""
    reference: bool = False
    """Show the judges the row's own answer as a right one."""
    judge_tokens: int = 512
    """Most tokens of a judge's reply."""

    def __post_init__(self) -> None:
        score, valid, alpha = type(self).metrics
        several = (alpha,) if len(self.teachers) > 1 else ()
        own = tuple(Metric(name, share=False) for name in self._asking(0).names)
        scores = (metric._replace(bounds=(1.0, float(self.scale))) for metric in (score, *own))
        vars(self)["metrics"] = (*scores, valid, *several)
        self._reached = False
        self._doubted: set[str] = set()

    def check(self, run: Run) -> Iterable[str]:
        """Teachers that are there, criteria with names, a scale with two ends."""
        from tuneforge.evaluation.judging.panel import problems

        yield from problems(self.teachers, self._asking(0), run)
        if self.scale < 2:
            yield f"scale={self.scale}: must be 2 or more"
        if taken := {"score", "valid", "alpha"} & set(self._asking(0).names):
            yield f"criteria: {', '.join(sorted(taken))} is a metric of its own; call the criterion otherwise"

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """Scores of the answers, NaN where none is valid. ConfigError for a judge who cannot be asked at first."""
        answers = lm.generate(rows, self.max_tokens)
        self._doubted.clear()
        if not self._reached:
            from tuneforge.evaluation.judging import panel, questions

            first = questions.rating(rows[0], answers[0].text, self._asking(context.seed))
            panel.reach(panel.chosen(self.teachers, context), first, context)
            self._reached = True
        return self._judged(rows, answers, context)

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """As `measure`; an answer that nobody scored has the mean score of the others, else the middle of the scale."""
        from tuneforge.evaluation.judging.duels import average

        found = self._judged(rows, answers, context)
        mean = average((one["score"] for one in found), (1 + self.scale) / 2)
        return [one if one["score"] == one["score"] else {**one, "score": mean} for one in found]

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Means over the rows with a valid score; agreement of the judges."""
        import numpy as np

        from tuneforge.evaluation.behaviour.means import mean
        from tuneforge.evaluation.judging.agreement import krippendorff

        found = {metric.name: mean(stats[metric.name]) for metric in self.metrics if metric.name in stats}
        if len(self.teachers) > 1:
            judged = np.stack([values for name, values in stats.items() if name.startswith(BY)])
            found["alpha"] = krippendorff(judged, interval=True)
        return found

    def _asking(self, seed: int) -> Asking:
        from tuneforge.evaluation.judging.questions import Asking

        return Asking(
            criteria=self.criteria, reference=self.reference, scale=self.scale, max_tokens=self.judge_tokens, seed=seed
        )

    def _judged(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> list[Stats]:
        from tuneforge.evaluation.judging import duels, panel, questions, replies

        asking, judges = self._asking(context.seed), panel.chosen(self.teachers, context)
        asked = [i for i, answer in enumerate(answers) if not answer.error]
        requests = [questions.rating(rows[i], answers[i].text, asking) for i in asked]
        worst = [1] * len(self.criteria)
        found = {name: [worst if answer.error else None for answer in answers] for name in judges}
        for name, teacher in judges.items():
            said = duels.answers(teacher, requests, context, f"Rate by {name}")
            for i, reply in zip(asked, said, strict=True):
                found[name][i] = replies.scores(reply, asking.names, self.scale)
            invalid = sum(found[name][i] is None for i in asked)
            if invalid and name not in self._doubted:  # as a reward it judges at every step
                panel.doubt(self.name, name, invalid, len(asked), context)
                self._doubted.add(name)
        return [self._stats({name: scores[i] for name, scores in found.items()}) for i in range(len(rows))]

    def _stats(self, said: Mapping[str, Sequence[int] | None]) -> Stats:
        """NaN where a statistic is not about the row; of `alpha` the observed agreement."""
        from tuneforge.evaluation.judging.agreement import alike
        from tuneforge.evaluation.judging.duels import average

        valid = [scores for scores in said.values() if scores is not None]
        names = self._asking(0).names
        return {
            "score": average(average(scores) for scores in valid),
            **{name: average(scores[i] for scores in valid) for i, name in enumerate(names)},
            "valid": len(valid) / len(said),
            **({"alpha": alike([average(scores or ()) for scores in said.values()])} if len(said) > 1 else {}),
            **{f"{BY}{judge}": average(scores or ()) for judge, scores in said.items()},
        }
