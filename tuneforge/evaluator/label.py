"""Whether an answer in words names the right class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.conversation import answer_text, references
from tuneforge.errors import ConfigError, TuneForgeError, nearest
from tuneforge.rows import UNIT, Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.evaluation.named import Names
    from tuneforge.settings import Run

SLACK = 8
MOST = 1000
"""More different answers than this in the training rows are no names of classes."""
MANY = 100
"""More different answers than this are no names of classes, where hardly one comes twice."""


@dataclass(kw_only=True)
class Label(Evaluator):
    """Accuracy, F1, precision and recall of classes that a model names in words, as scikit-learn computes them.

    An answer names a class where it is its name, case and surrounding punctuation aside; one that names none is wrong,
    is no class of its own in the averages, and counts in `off_label`. Averages are over the classes that stand in the
    rows or are answered; F1 and precision of a class that is never answered count as 0, which is said. Of several
    references the one that was answered counts, else the first. The confusion matrix and the figures of each class
    stand in metrics.json.
    """

    name: ClassVar[str] = "label"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy"),
        Metric("macro_f1", bounds=UNIT),
        Metric("micro_f1", bounds=UNIT),
        Metric("macro_precision", bounds=UNIT),
        Metric("macro_recall", bounds=UNIT),
        Metric("off_label", higher_is_better=False),
    )
    record: ClassVar[str] = "completion"

    labels: list[str] = field(default_factory=list)
    """Names of the classes; empty: the references of the sets, and answers of the training rows if they are few."""
    search: bool = False
    """Where the answer as a whole names no class, take the first that is named in it."""

    def check(self, run: Run) -> Iterable[str]:
        """Labels that can be told apart."""
        from tuneforge.evaluation.named import known

        try:
            known(self.labels or ["a", "b"], "labels")
        except TuneForgeError as error:
            yield str(error)

    def __post_init__(self) -> None:
        self._trained: tuple[Sequence[Row], list[str]] = ((), [])

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """As `judge`; says which classes are never answered. No answer is cut that could still be right."""
        names = self.classes(rows, context)
        longest = max((len(name.encode()) for name in names[:-1]), default=0)
        limit = self.max_tokens if self.search else min(self.max_tokens, longest + SLACK)
        stats = list(self.judge(rows, lm.generate(rows, limit), context))
        self._say(lm.variant, stats, names, context)
        return stats

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """`accuracy` and `off_label`, and the places of the `predicted` (no class: the last) and the `true` class."""
        from tuneforge.evaluation.named import Names

        names = Names(self.classes(rows, context)[:-1])
        return [self._scored(names, row, answer) for row, answer in zip(rows, answers, strict=True)]

    def classes(self, rows: Sequence[Row], context: Context) -> Sequence[str]:
        """Names of the classes, and at the end what stands for an answer that names none."""
        from tuneforge.evaluation.confusion import NO_CLASS
        from tuneforge.evaluation.named import known

        if self.labels:
            return [*known(self.labels, "evaluator.label.labels"), NO_CLASS]
        # The same classes on all test sets, which are also counted together.
        tests = (held for held in context.held_out if held.split == "test")
        sets = [held.rows for held in tests if not self.sets or held.name in self.sets]
        every = [row for of in (*sets, rows) for row in of if self.serves(row.columns)]
        found = {text.strip() for row in every for text in references(row.columns)} - {""}
        if len(found) > MANY and 2 * len(found) > len(every):
            raise ConfigError(
                f"evaluator.label: {len(found):,} different references in {len(every):,} rows are no names of classes;"
                " name the sets that have some (evaluator.label.sets) or the classes (evaluator.label.labels)"
            )
        return [*sorted(found | set(self._of_training(context)) - {""}), NO_CLASS]

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """From the counts of right, answered and true rows of each class."""
        from tuneforge.evaluation.class_counts import Counts

        last = int(stats["last"][0])
        found = Counts.of(stats["predicted"], stats["true"], last).averages()
        return {"accuracy": float(stats["accuracy"].mean()), "off_label": float(stats["off_label"].mean())} | found

    def _scored(self, names: Names, row: Row, answer: Answer) -> Stats:
        texts = [text for text in references(row.columns) if text.strip()] or [""]
        right = [names.named(text) for text in texts]
        if None in right:
            text = texts[right.index(None)]
            raise ConfigError(
                f"evaluator.label.labels: {row.place}: the reference {text[:60]!r} is none of"
                f" {', '.join(names.labels[:10])}.{nearest(text[:60], names.labels)}"
            )
        said, last = None if answer.error else names.named(answer.text, self.search), len(names.labels)
        true = said if said is not None and said in right else right[0] or 0
        return {
            "accuracy": float(said == true),
            "off_label": float(said is None),
            "predicted": float(last if said is None else said),
            "true": float(true),
            "last": float(last),
        }

    def _of_training(self, context: Context) -> list[str]:
        """Different answers of the training rows, read once; none where they are too many to be names of classes."""
        if self._trained[0] is not context.train:
            found: set[str] = set()
            for row in context.train:
                found.add(answer_text(row.columns).strip())
                if len(found) > MOST:
                    break
            few = len(found) <= MOST and 2 * len(found) <= len(context.train)
            if found and not few:
                context.note("label: answers of the training rows are no names of classes; those of the sets are")
            self._trained = (context.train, sorted(found) if few else [])
        return self._trained[1]

    def _say(self, variant: str, stats: Sequence[Stats], names: Sequence[str], context: Context) -> None:
        import numpy as np

        from tuneforge.evaluation.class_counts import Counts

        said, true = (np.array([one[side] for one in stats]) for side in ("predicted", "true"))
        counts = Counts.of(said, true, len(names) - 1)
        silent = np.flatnonzero((counts.true > 0) & (counts.predicted == 0))
        if len(silent):
            there = np.count_nonzero(counts.true)
            context.note(
                f"label of {variant}: in {len(stats):,} rows {len(silent):,} of {there:,} classes are never"
                f" answered, as '{names[silent[0]]}': their precision is undefined, and it and their F1 count as 0",
                never_answered=len(silent),
            )
