"""Which of two models' answers a teacher finds better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator, Teacher
from tuneforge.errors import ConfigError
from tuneforge.rows import UNIT, Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.evaluation.judging.duels import Word
    from tuneforge.evaluation.judging.questions import Asking
    from tuneforge.settings import Run

BY = "by_"
"""Prefix of the statistics that hold one judge's results."""
HUMAN = {"win": 1.0, "tie": 0.5, "loss": 0.0}


class Panel(StrEnum):
    """How several judges come to one result."""

    majority = "majority"
    mean = "mean"


@dataclass(kw_only=True)
class Judge(Evaluator):
    """Share of rows on which judges find the answer better than that of the variant to beat; a tie counts ½.

    Judges are teachers. Each compares every pair in both orders (Zheng et al., arXiv:2306.05685): a win or loss holds
    in both, orders that contradict each other are a tie, as are equal answers, which nobody is asked about. An answer
    with an error loses to one without. A judge with an invalid reply has no say on that row; where nobody has, it is a
    tie. `consistency` is the share of pairs on which both orders agree, `valid` the share of replies that are a verdict
    in the demanded form, `first_position` the share of verdicts for the answer shown first (½ is fair), `ties` the
    share of ties. Of several judges `alpha` is Krippendorff's (nominal), `kappa` Cohen's for two and Fleiss' for more.
    On any rows with a prompt.
    """

    name: ClassVar[str] = "judge"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *(Metric(name, bounds=UNIT) for name in ("win_rate", "consistency", "valid", "first_position", "ties")),
        Metric("alpha", share=False, bounds=(-inf, 1.0)), Metric("kappa", share=False, bounds=(-inf, 1.0)),
        Metric("human_agreement"), Metric("human_kappa", share=False, bounds=(-inf, 1.0)),
    )  # fmt: skip
    record: ClassVar[str] = "prompt"
    pairwise: ClassVar[bool] = True

    teachers: list[str] = field(default_factory=list)
    """Keys of the teachers that judge; empty: the only one that is configured."""
    criteria: list[str] = field(
        default_factory=lambda: ["helpfulness: it does what was asked", "accuracy: what it says is right", "clarity"]
    )
    """What to judge by, each a name, or a name and what it means: `accuracy: the facts are right`."""
    panel: Panel = Panel.majority
    """What several judges say together: what more than half of them say (else a tie), or the mean."""
    reference: bool = False
    """Show the judges the row's own answer as a right one."""
    human: str = ""
    """Kept column in which a person said win, tie or loss of the same answer against the same other; empty: none."""
    judge_tokens: int = 512
    """Most tokens of a judge's reply."""

    def __post_init__(self) -> None:
        absent = set() if len(self.teachers) > 1 else {"alpha", "kappa"}
        absent |= set() if self.human else {"human_agreement", "human_kappa"}
        vars(self)["metrics"] = tuple(metric for metric in type(self).metrics if metric.name not in absent)

    def check(self, run: Run) -> Iterable[str]:
        """Teachers that are there, criteria with names."""
        from tuneforge.evaluation.judging.panel import problems

        yield from problems(self.teachers, self._asking(0), run)

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """Statistics per row. Without `versus` each judge is asked once, so that one who cannot be is found out now."""
        from tuneforge.evaluation.judging.duels import Word
        from tuneforge.evaluation.judging.panel import chosen, reach
        from tuneforge.evaluation.judging.questions import comparison

        judges = chosen(self.teachers, context)
        mine, asking = lm.generate(rows, self.max_tokens), self._asking(context.seed)
        people = [self._human(row) for row in rows]
        if versus is None:
            reach(judges, comparison(rows[0], mine[0].text, mine[0].text, asking), context)
            return [self._stats(0.5, dict.fromkeys(judges, Word()), False, float("nan"), compared=False) for _ in rows]
        theirs = versus.generate(rows, self.max_tokens)
        asked = [i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if _open(a, b)]
        said = self._said(judges, [(rows[i], mine[i].text, theirs[i].text) for i in asked], asking, context)
        self._say(mine, theirs, len(asked), context)
        found = dict(zip(asked, said, strict=True))
        silent = dict.fromkeys(judges, Word())
        results = [self._result(found[i]) if i in found else _settled(mine[i], theirs[i]) for i in range(len(rows))]
        return [
            self._stats(result, found.get(i, silent), i in found, human)
            for i, (result, human) in enumerate(zip(results, people, strict=True))
        ]

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Means over the rows that each is about; agreement of judges with each other and with people."""
        import numpy as np

        from tuneforge.evaluation.behaviour.means import mean
        from tuneforge.evaluation.judging.agreement import cohen, fleiss, krippendorff

        names = {metric.name for metric in self.metrics}
        found = {name: mean(stats[name]) for name in names & stats.keys()}
        judged = np.stack([values for name, values in stats.items() if name.startswith(BY)])
        if "alpha" in names:
            found["alpha"] = krippendorff(judged)
            found["kappa"] = cohen(*judged) if len(judged) == 2 else fleiss(judged)
        if self.human:
            found["human_kappa"] = cohen(stats["win_rate"], stats["human"])
        return found

    def _asking(self, seed: int) -> Asking:
        from tuneforge.evaluation.judging.questions import Asking

        return Asking(criteria=self.criteria, reference=self.reference, max_tokens=self.judge_tokens, seed=seed)

    def _said(
        self, judges: Mapping[str, Teacher], pairs: Sequence[tuple[Row, str, str]], asking: Asking, context: Context
    ) -> list[dict[str, Word]]:
        """Judge → word of each pair; says how many replies are no verdict."""
        from tuneforge.evaluation.judging.duels import invalid, words
        from tuneforge.evaluation.judging.panel import doubt, doubt_order

        found: list[dict[str, Word]] = [{} for _ in pairs]
        for name, teacher in judges.items():
            said = words(teacher, pairs, asking, context, f"Judge by {name}")
            doubt(self.name, name, sum(map(invalid, said)), 2 * len(said), context)
            both = [word for word in said if word.both]
            doubt_order(self.name, name, sum(word.ahead != word.behind for word in both), len(both), context)
            for one, word in zip(found, said, strict=True):
                one[name] = word
        return found

    def _result(self, said: Mapping[str, Word]) -> float:
        """What the judges say together."""
        from tuneforge.evaluation.judging.duels import average, majority

        results = [word.result for word in said.values()]
        return majority(results) if self.panel is Panel.majority else average(results, 0.5)

    def _stats(
        self, result: float, said: Mapping[str, Word], asked: bool, human: float, compared: bool = True
    ) -> Stats:
        """NaN where a statistic is not about the row; of `alpha`, `kappa` and `human_kappa` its observed agreement."""
        from tuneforge.evaluation.judging.agreement import alike
        from tuneforge.evaluation.judging.duels import NAN, average, invalid

        replies = 2 * len(said)
        agree = [float(word.ahead == word.behind) for word in said.values() if word.both]
        same = float(result == human) if human == human else NAN
        people = {"human": human, "human_agreement": same, "human_kappa": same}
        together = alike([word.result for word in said.values()])
        every = all(word.both for word in said.values())
        judges = {"alpha": together, "kappa": together if every else NAN}
        return {
            "win_rate": result,
            "ties": float(result == 0.5) if compared else NAN,
            "consistency": average(agree),
            "valid": 1 - sum(map(invalid, said.values())) / replies if asked else NAN,
            "first_position": average(first for word in said.values() for first in word.firsts),
            **{f"{BY}{name}": word.result for name, word in said.items()},
            **(judges if len(said) > 1 else {}),
            **(people if self.human else {}),
        }

    def _human(self, row: Row) -> float:
        """What a person said; NaN where nothing stands. ConfigError for what is neither win, tie nor loss."""
        if not self.human:
            return float("nan")
        from tuneforge.evaluation.behaviour.fields import field_of

        value = field_of(row, self.human, self.name)
        if value in (None, ""):
            return float("nan")
        if str(value).lower() not in HUMAN:
            raise ConfigError(f"evaluator.judge.human={self.human}: {row.place} has {value!r}, not win, tie or loss")
        return HUMAN[str(value).lower()]

    def _say(self, mine: Sequence[Answer], theirs: Sequence[Answer], asked: int, context: Context) -> None:
        """How many pairs nobody was asked about, and why."""
        equal = sum(a.text == b.text and not a.error and not b.error for a, b in zip(mine, theirs, strict=True))
        failed = len(mine) - asked - equal
        if equal or failed:
            text = f"judge: {equal:,} of {len(mine):,} pairs are equal and count as ties"
            errors = f"; in {failed:,} an answer failed, which loses" if failed else ""
            context.note(f"{text}{errors}; nobody was asked about them", equal=equal, failed=failed)


def _open(mine: Answer, theirs: Answer) -> bool:
    """Whether a judge is to be asked."""
    return not mine.error and not theirs.error and mine.text != theirs.text


def _settled(mine: Answer, theirs: Answer) -> float:
    """The result of a pair that nobody is asked about."""
    return (1 + bool(theirs.error) - bool(mine.error)) / 2
