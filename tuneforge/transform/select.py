"""Keep the rows that a condition, a budget and a method choose."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Role, Transform
from tuneforge.errors import ConfigError
from tuneforge.rows import Kept, Rejected, Row

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.settings import Run


class Method(StrEnum):
    """How rows are chosen where there are more than the budget."""

    first = "first"
    random = "random"
    balance = "balance"
    k_center = "k_center"
    facility_location = "facility_location"
    coverage = "coverage"


class By(StrEnum):
    """What rows are balanced by."""

    label = "label"
    task = "task"
    group = "group"
    source = "source"


MEASURED = (Method.k_center, Method.facility_location, Method.coverage)
"""Methods that look at what rows are about."""


@dataclass(kw_only=True)
class Select(Transform):
    """Keep the rows for which a condition holds, and of these as many as the budget says, chosen by a method.

    What is not chosen is dropped with its reason and stands in data/quarantine.jsonl. Order is kept.
    """

    name: ClassVar[str] = "select"

    where: str | None = None
    """Condition on a row, as words(answer) > 5 and label != "spam"; names and functions: docs/selection.md."""
    budget: float | None = None
    """Rows to keep, or their share when below 1; null: all for which `where` holds."""
    method: Method = Method.first
    """first, random, balance (even numbers of each class of `by`), k_center (spread out), facility_location
    (representative) or coverage (like the validation files of role target)."""
    by: By | None = None
    """What method=balance evens out: label, task (by transform=task_type), group or source."""
    features: str = "ngrams"
    """What makes rows alike: ngrams (words and pairs of words), or a sentence-transformers model (folder, hub name)."""

    def check(self, run: Run) -> Iterable[str]:
        """A condition that means something, a budget where one is needed, and what the method needs."""
        from tuneforge.preparation.expression import Invalid, compiled

        if self.where is None and self.budget is None:
            yield "set where (a condition), budget (how many rows), or both"
        if self.budget is not None and (self.budget <= 0 or (self.budget >= 1 and self.budget % 1)):
            yield f"budget={self.budget:g} is a number of rows, or a share between 0 and 1"
        if self.where is not None:
            try:
                compiled(self.where)
            except Invalid as error:
                yield f"where={self.where}: {error}"
        yield from self._method_problems(run)

    def _method_problems(self, run: Run) -> Iterator[str]:
        from importlib.util import find_spec

        if self.budget is None and self.method is not Method.first:
            yield f"method={self.method} needs a budget"
        if self.method is Method.balance and self.by is None:
            yield f"method=balance needs by ({', '.join(By)})"
        if self.method is not Method.balance and self.by is not None:
            yield f"by={self.by} belongs to method=balance, not to method={self.method}"
        if self.by is By.task and "task_type" not in _before(self, run):
            yield "by=task needs transform=task_type before it"
        if self.method not in MEASURED and self.features != "ngrams":
            yield f"features={self.features} belongs to method={', '.join(MEASURED)}, not to method={self.method}"
        elif self.features != "ngrams" and find_spec("sentence_transformers") is None:
            yield f"features={self.features} needs sentence_transformers: pip install 'tuneforge[semantic]'"
        if self.method is Method.coverage and not _targets(run):
            yield (
                "method=coverage needs a validation file of role target (validation=FILE): a share of the training "
                "rows is distributed as they are, and test sets are never looked at"
            )

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Rows that are chosen, in order; the others Rejected as `not selected`."""
        judged = self._judged(rows)
        if self.budget is None:
            yield from judged
            return
        held = list(judged)
        kept = [item for item in held if isinstance(item, Row)]
        size = self._size(len(kept))
        chosen = {id(row) for row in self._chosen(kept, size, context)}
        for item in held:
            if isinstance(item, Rejected) or id(item) in chosen:
                yield item
            else:
                yield Rejected(item, f"not selected: method={self.method} keeps {size:,} of {len(kept):,}")

    def _judged(self, rows: Iterable[Row]) -> Kept:
        """Rows for which the condition holds; the others Rejected."""
        from tuneforge.preparation.expression import TooSlow, compiled

        if self.where is None:
            yield from rows
            return
        holds = compiled(self.where)
        for row in rows:
            try:
                yield row if holds(row) else Rejected(row, f"not selected: where={self.where} does not hold")
            except TooSlow as slow:
                yield Rejected(row, f"regex too slow: {slow}")

    def _size(self, count: int) -> int:
        assert self.budget is not None
        return min(count, max(1, round(self.budget * count)) if self.budget < 1 else int(self.budget))

    def _chosen(self, rows: Sequence[Row], size: int, context: Context) -> Iterable[Row]:
        if size >= len(rows) or self.method is Method.first:
            return rows[:size]
        shuffled = random.Random(context.seed).sample(rows, len(rows))
        if self.method is Method.random:
            return shuffled[:size]
        if self.method is Method.balance:
            return self._balanced(shuffled, size, context)
        return self._measured(shuffled, size, context)

    def _balanced(self, rows: Sequence[Row], size: int, context: Context) -> Iterator[Row]:
        from tuneforge.preparation.selection import even

        assert self.by is not None
        classes: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            classes[_class(row, self.by)].append(row)
        if set(classes) == {""}:
            raise ConfigError(f"transform.select.by={self.by}: no row has a {self.by}")
        for name, count in even({name: len(members) for name, members in classes.items()}, size).items():
            context.counts[f"{self.by} {name or '(none)'}"] += count
            yield from classes[name][:count]

    def _measured(self, rows: Sequence[Row], size: int, context: Context) -> Iterable[Row]:
        from tuneforge.preparation import selection
        from tuneforge.preparation.features import subject, vectors

        texts = [subject(row.columns) for row in rows]
        if self.method is Method.coverage:
            return self._covering(rows, texts, size, context)
        made = vectors(texts, self.features, context.seed)
        if self.method is Method.facility_location and len(rows) > selection.REPRESENTED:
            context.note(
                f"transform.select: {selection.REPRESENTED:,} of {len(rows):,} rows, drawn by the seed, stand for all "
                "that are to be represented"
            )
        choose = selection.k_center if self.method is Method.k_center else selection.facility_location
        return [rows[index] for index in choose(made, size)]

    def _covering(self, rows: Sequence[Row], texts: Sequence[str], size: int, context: Context) -> list[Row]:
        """Rows in the shares that their clusters have in the validation files; what is short is filled up elsewhere."""
        from tuneforge.preparation.clusters import Clusters
        from tuneforge.preparation.features import subject, vectors
        from tuneforge.preparation.selection import nearest, proportional

        wanted = [subject(row.columns) for row in _target_rows(context)]
        made = vectors([*texts, *wanted], self.features, context.seed)
        alike = nearest(made[: len(texts)], made[len(texts) :])
        clusters = Clusters(wanted, max(1, min(20, len(wanted) // 10)), context.seed)
        shares = Counter(clusters.of(wanted))
        quotas = dict(zip(shares, proportional([n / len(wanted) for n in shares.values()], size), strict=True))
        return _filled(rows, clusters.of(texts), alike, quotas, context)


def _filled(
    rows: Sequence[Row], names: Sequence[str], alike: ndarray, quotas: dict[str, int], context: Context
) -> list[Row]:
    """The rows most like the target, up to the quota of each cluster, then any others that are most like it."""
    order = sorted(range(len(rows)), key=lambda index: -alike[index])
    left = dict(quotas)
    chosen: list[int] = []
    for index in order:
        if left.get(names[index], 0):
            left[names[index]] -= 1
            chosen.append(index)
    for name, short in left.items():
        context.counts[f"cluster {name}"] += quotas[name] - short
        if short:
            context.note(f"transform.select: {short:,} of {quotas[name]:,} rows are missing that '{name}' asks for")
    taken = set(chosen)
    spare = [index for index in order if index not in taken][: sum(left.values())]
    return [rows[index] for index in chosen + spare]


def _before(select: Select, run: Run) -> list[str]:
    names: list[str] = []
    for component in run.transform.values():
        if component is select:
            break
        names.append(component.name)
    return names


def _targets(run: Run) -> list[str]:
    """Validation sets of role target that are read from somewhere, not cut from the training rows."""
    return [key for key, source in run.validation.items() if source.role is Role.target and source.name != "share"]


def _target_rows(context: Context) -> list[Row]:
    from tuneforge.preparation.intake import read_source

    sources = context.run.validation
    return [row for key in _targets(context.run) for row in read_source(key, "validation", sources[key], context).rows]


def _class(row: Row, by: By) -> str:
    if by is By.label:
        from tuneforge.conversation import classes

        return ", ".join(classes(row.columns) or ())
    return str(getattr(row, by.value))
