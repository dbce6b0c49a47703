"""Whether a model gives the same answer to the same question in other words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from math import nan
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.conversation import answer_text, offers
from tuneforge.rows import UNIT, Answer, Metric, Row, Stats, content_hash

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.settings import Run


class Phrasings(StrEnum):
    """Where the other words come from."""

    rules = "rules"
    field = "field"
    group = "group"
    teacher = "teacher"


@dataclass(kw_only=True)
class Consistency(Evaluator):
    """Share of pairs of phrasings of one question whose answers agree, from 0 to 1 (Elazar et al., arXiv:2102.01017).

    Answers agree where they are equal but for case, width of letters, white space and marks around them, or by the
    score that `agree` gives one with the other as its reference. An empty answer, and one with an error, agrees with
    none. `right_in_all` is the score in the worst phrasing (the share of questions that are right in every one, of
    right and wrong), `right` that of the question as it stands; no numbers where there is no reference. Rows without
    another phrasing are left out, and counted. A model that always says the same is consistent and may be wrong: read
    both.
    """

    name: ClassVar[str] = "consistency"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("consistency"), Metric("right_in_all"), Metric("right"))
    record: ClassVar[str] = "prompt"

    phrasings: Phrasings = Phrasings.rules
    """rules (English: politeness, a heading, contractions, the last mark), field (a kept column), group (the rows of
    one group are phrasings of one question), or teacher."""
    field: str = ""
    """Column with a list of other phrasings, kept by `test.X.keep`, with phrasings=field."""
    teacher: str = ""
    """Key of the teacher that finds other words, with phrasings=teacher."""
    count: int = 3
    """Most other phrasings of a question, with rules and teacher."""
    evaluator: str = ""
    """What says whether an answer is right: a key of `evaluator`, or an installed one; empty: exact_match."""
    agree: str = ""
    """What says whether two answers agree, as token_f1; empty: equality."""

    def __post_init__(self) -> None:
        self._made: dict[tuple[tuple[str, str], ...], list[list[Row]]] = {}
        # Without a scorer answers agree or not, and are right or wrong.
        scorer = {"consistency": self.agree, "right_in_all": self.evaluator, "right": self.evaluator}
        vars(self)["metrics"] = tuple(m if scorer[m.name] else m._replace(bounds=UNIT) for m in type(self).metrics)

    def check(self, run: Run) -> Iterable[str]:
        """A field and a teacher exactly where one is asked; scorers that score no answers."""
        from tuneforge.evaluation.behaviour.named import scorer_problems, teacher_problems

        for key in (Phrasings.field, Phrasings.teacher):
            value = getattr(self, key)
            if value and self.phrasings is not key:
                yield f"{key}={value} is not read with phrasings={self.phrasings}; set phrasings={key}"
            elif not value and self.phrasings is key:
                yield f"phrasings={key} needs {key}"
        if self.count < 1:
            yield f"count={self.count}: must be 1 or more"
        yield from teacher_problems(self.teacher, run)
        yield from scorer_problems(self, self.evaluator, run)
        yield from scorer_problems(self, self.agree, run, "agree")

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`consistency`, `right_in_all` and `right` of each row that has another phrasing; no numbers of the others."""
        families = self._families(rows, context)
        asked = [row for family in families for row in family]
        answers = iter(lm.generate(asked, self.max_tokens))
        said = [[next(answers) for _ in family] for family in families]
        agreement = self._agreement(families, said, context)
        right = self._right(families, said, context)
        found: list[Stats] = []
        for family, pairs, scores in zip(families, agreement, right, strict=True):
            alone = len(family) < 2
            found.append(
                {
                    "consistency": nan if alone else sum(pairs) / len(pairs),
                    "right_in_all": nan if alone or not scores else min(scores),
                    "right": nan if alone or not scores else scores[0],
                }
            )
        return found

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Means over the rows that have another phrasing."""
        from tuneforge.evaluation.behaviour.means import mean

        return {metric.name: mean(stats[metric.name]) for metric in self.metrics}

    def _families(self, rows: Sequence[Row], context: Context) -> list[list[Row]]:
        """Each row with its other phrasings; made once per set, the same for every variant, and counted aloud."""
        from tuneforge.evaluation.behaviour.fields import told_apart

        key = told_apart(rows)
        if key not in self._made:
            self._made[key] = self._grouped(rows) if self.phrasings is Phrasings.group else self._worded(rows, context)
            alone = sum(len(family) < 2 for family in self._made[key])
            if alone:
                text = f"consistency: {alone:,} of {len(rows):,} rows have no other phrasing, and are left out"
                context.note(text, rows=alone)
        return self._made[key]

    def _grouped(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Each row first, then the others of its group."""
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(row.group, []).append(row)
        return [[row, *(r for r in groups[row.group] if r is not row)] if row.group else [row] for row in rows]

    def _worded(self, rows: Sequence[Row], context: Context) -> list[list[Row]]:
        from tuneforge.evaluation.behaviour.asking import asked, asking
        from tuneforge.evaluation.behaviour.fields import texts_of
        from tuneforge.evaluation.behaviour.paraphrase import by_rules, by_teacher

        if self.phrasings is Phrasings.field:
            wordings = [_others(texts_of(row, self.field, self.name), asked(row.columns)) for row in rows]
        elif self.phrasings is Phrasings.teacher:
            wordings, lost = by_teacher(rows, self.count, self.teacher, context)
            if lost:
                context.note(f"teacher.{self.teacher}: {lost:,} wordings were of no use", wordings=lost)
        else:
            wordings = [by_rules(asked(row.columns), self.count) for row in rows]
        return [[row, *(asking(row, text) for text in found)] for row, found in zip(rows, wordings, strict=True)]

    def _agreement(
        self, families: Sequence[Sequence[Row]], said: Sequence[Sequence[Answer]], context: Context
    ) -> list[list[float]]:
        """How far the answers of each pair of phrasings agree, row by row; 0 where one of them says nothing."""
        from tuneforge.evaluation.behaviour.paraphrase import form
        from tuneforge.evaluation.behaviour.scoring import judged

        forms = [["" if one.error else form(one.text) for one in answers] for answers in said]
        pairs = [[(i, a, b) for a, b in self._pairs(len(family))] for i, family in enumerate(families)]
        both = [(i, a, b) for some in pairs for i, a, b in some if forms[i][a] and forms[i][b]]
        given: Iterable[float] = [float(forms[i][a] == forms[i][b]) for i, a, b in both]
        if self.agree and both:
            held = [_referring(families[i][b], said[i][a].text) for i, a, b in both]
            given = judged(self, context.evaluator(self.agree), held, [said[i][b] for i, _, b in both], context)
        scores = dict(zip(both, map(float, given), strict=True))
        return [[scores.get(pair, 0.0) for pair in some] for some in pairs]

    def _pairs(self, count: int) -> list[tuple[int, int]]:
        """Every pair of phrasings; of a group's row those with itself, as each of the others has its own."""
        return [(a, b) for a, b in combinations(range(count), 2) if a == 0 or self.phrasings is not Phrasings.group]

    def _right(
        self, families: Sequence[Sequence[Row]], said: Sequence[Sequence[Answer]], context: Context
    ) -> list[list[float]]:
        """Scores of each row's answers; none where a row has no reference."""
        from tuneforge.evaluation.behaviour.scoring import judged, scorer

        known = [offers(f[0].columns, "completion") and bool(answer_text(f[0].columns)) for f in families]
        asked = [row for family, there in zip(families, known, strict=True) if there for row in family]
        answers = [one for some, there in zip(said, known, strict=True) if there for one in some]
        if not asked:
            return [[] for _ in families]
        given = iter(judged(self, scorer(self, self.evaluator, asked, context), asked, answers, context))
        return [[float(next(given)) for _ in f] if there else [] for f, there in zip(families, known, strict=True)]


def _others(wordings: Sequence[str], question: str) -> list[str]:
    """Each wording once, and not the question itself: equal questions get equal answers."""
    return [text for text in dict.fromkeys(wordings) if text != question]


def _referring(row: Row, reference: str) -> Row:
    """The question of a row with another answer as its one reference."""
    from tuneforge.evaluation.behaviour.asking import asked

    columns = {"prompt": asked(row.columns), "completion": reference}
    return replace(row, columns=columns, id=content_hash(columns))
