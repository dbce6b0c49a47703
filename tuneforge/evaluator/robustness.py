"""How much a model loses where its question is disturbed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.evaluation.behaviour.perturb import DISTRACTORS, INJECTIONS, Means, Perturbation
from tuneforge.rows import UNIT, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Robustness(Evaluator):
    """The score less the score on the same rows with their questions disturbed; 0 where nothing is lost.

    `typos`: letters left out, doubled, swapped or replaced by neighbours on the keyboard; `upper_case`, `lower_case`;
    `spaces`: more blanks between words; `distractor`: a sentence about something else in front; `options`: in another
    order; `injection`: an instruction after the question to say something else, and whether it is followed
    (`injection_followed`). Numbers, words of the right answers and of choices, and lines of options keep every letter,
    so the right answer stays what it was, but for the letter of an option that moved. `robustness_drop` is the mean
    over all that apply to a row, `worst_drop` that of the worst of them; each has its score under its own name. The
    idea of testing behaviour by disturbance is CheckList's (Ribeiro et al., arXiv:2005.04118).
    """

    name: ClassVar[str] = "robustness"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("robustness_drop", False, share=False),
        Metric("worst_drop", False, share=False),
        Metric("injection_followed", False),
        Metric("clean"),
        Metric("perturbed"),
        *(Metric(str(kind)) for kind in Perturbation),
    )
    record: ClassVar[str] = "completion"

    evaluator: str = ""
    """What scores a row: a key of `evaluator`, or an installed one; empty: exact_match, or classification of texts."""
    perturbations: list[Perturbation] = field(default_factory=list)
    """How questions are disturbed: typos, upper_case, lower_case, spaces, distractor, options, injection; empty: by
    all of them."""
    strength: float = 0.1
    """Share of the words that get a typo, and of the blanks that become more; one at least."""
    distractors: list[str] = field(default_factory=lambda: list(DISTRACTORS))
    """Sentences, one of which stands before the question."""
    injections: list[str] = field(default_factory=lambda: list(INJECTIONS))
    """Instructions, one of which stands after the question; `{answer}` is the word that they want to be said."""

    def __post_init__(self) -> None:
        self._made: dict[tuple[tuple[str, str], ...], dict[Perturbation, list[Row | None]]] = {}
        if not self.evaluator:  # then a row is right or wrong
            of = dict.fromkeys(("robustness_drop", "worst_drop"), (-1.0, 1.0))
            vars(self)["metrics"] = tuple(m._replace(bounds=of.get(m.name, UNIT)) for m in type(self).metrics)

    def check(self, run: Run) -> Iterable[str]:
        """A strength that is no share; sentences that are missing; a scorer that scores no rows."""
        from tuneforge.evaluation.behaviour.named import scorer_problems

        if not 0 < self.strength <= 1:
            yield f"strength={self.strength}: must be above 0, and 1 at most"
        if not self.distractors or not self.injections:
            yield "distractors and injections must hold a sentence each; leave one out with perturbations=[typos,…]"
        for text in self.injections:
            if text.count("{answer}") != 1 or text.replace("{answer}", "").count("{"):
                yield f"injections: '{text}' must hold {{answer}} once, and no other brace"
        yield from scorer_problems(self, self.evaluator, run)

    def serves(self, columns: Mapping[str, Any]) -> bool:
        """Rows with an answer, or with a class."""
        from tuneforge.evaluation.behaviour.scoring import scorable

        return scorable(columns)

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`clean`, one score per perturbation, their mean `perturbed`, and `injection_followed`."""
        import numpy as np

        from tuneforge.evaluation.behaviour.means import over_rows
        from tuneforge.evaluation.behaviour.perturb import follows
        from tuneforge.evaluation.behaviour.scoring import Quiet, measured, scorer

        found = scorer(self, self.evaluator, rows, context)
        columns = {"clean": measured(self, found, lm, rows, context)[0]}
        columns |= {name: np.full(len(rows), np.nan) for name in ("injection_followed", *Perturbation)}
        for kind, made in self._perturbed(rows, context).items():
            places = [i for i, row in enumerate(made) if row is not None]
            some = [row for row in made if row is not None]
            if not some:
                continue
            columns[kind][places], answers = measured(self, found, lm, some, Quiet(context))
            if kind is Perturbation.injection:
                told = [np.nan if a is None else follows(a.text, rows[i]) for i, a in zip(places, answers, strict=True)]
                columns["injection_followed"][places] = told
        columns["perturbed"] = over_rows([columns[kind] for kind in Perturbation])
        columns["robustness_drop"] = columns["clean"] - columns["perturbed"]
        columns["worst_drop"] = columns["clean"] - np.fmin.reduce([columns[kind] for kind in Perturbation])
        return [{str(name): float(values[n]) for name, values in columns.items()} for n in range(len(rows))]

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Means over the rows that each is about, and of differences to the clean score of the same rows."""
        import numpy as np

        from tuneforge.evaluation.behaviour.means import mean

        drops = [mean(stats["clean"] - stats[str(kind)]) for kind in Perturbation]
        told = [drop for drop in drops if drop == drop]
        means = {metric.name: mean(stats[metric.name]) for metric in self.metrics}
        return means | {"worst_drop": max(told) if told else float(np.nan)}

    def _perturbed(self, rows: Sequence[Row], context: Context) -> dict[Perturbation, list[Row | None]]:
        """The disturbed rows of each kind; made once per set, the same for every variant, and counted aloud."""
        from tuneforge.evaluation.behaviour.fields import told_apart
        from tuneforge.evaluation.behaviour.perturb import perturbed

        key = told_apart(rows)
        if key not in self._made:
            means = Means(self.strength, self.distractors, self.injections)
            kinds = self.perturbations or list(Perturbation)
            made = {kind: [perturbed(row, kind, means, context.seed) for row in rows] for kind in kinds}
            self._made[key] = made
            counts = {str(kind): sum(one is not None for one in found) for kind, found in made.items()}
            listed = ", ".join(f"{kind} {count:,}" for kind, count in counts.items())
            context.note(f"robustness: of {len(rows):,} rows disturbed by: {listed}", **counts)
        return self._made[key]
