"""Where a model fails and where it changed: slices of test sets, beside how much of the training data is like them."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tuneforge.components import Context, Evaluator
from tuneforge.conversation import answer_text, classes, split
from tuneforge.evaluation.figures import finite
from tuneforge.evaluation.measure import Cell, Measured, Place
from tuneforge.evaluation.significance import holm
from tuneforge.evaluation.slice_tests import less_than_the_rest
from tuneforge.evaluation.tidy import POOLED, Table, intervals
from tuneforge.preparation.features import subject
from tuneforge.rows import Metric, Row

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats

FEWEST = 10
"""Rows from which a slice is looked at, unless `slices.fewest` says otherwise."""
MOST_CLASSES = 100
ROWS_PER_TOPIC, MOST_TOPICS = 40, 12
SAMPLE = 20_000
"""Training rows that are looked at, a seeded sample of more."""
LEVEL = 0.05
EXAMPLES = 3
"""Rows of each kind that a slice shows."""
LONGEST = 200
"""Characters of an example."""
Name = tuple[str, str]
"""(what rows are told apart by, which part), as ("length", "over 30 words")."""


@dataclass(frozen=True)
class Slice:
    """The tuned model and what it is compared with on the rows of one class, length, task, topic or kept column."""

    set: str
    split: str
    role: str
    evaluator: str
    metric: str
    higher_is_better: bool
    by: str
    """label, length, task, topic, or a kept column."""
    name: str
    n: int
    model: str
    versus: str
    value: float | None
    """The paired difference with its interval."""
    low: float | None
    high: float | None
    base: float | None
    """Of what the tuned model is compared with."""
    tuned: float | None
    tuned_low: float | None
    tuned_high: float | None
    test_share: float
    train_share: float | None
    """Share of the training rows that is like it; None where they cannot be told apart so."""
    weak: bool
    """Proven worse than the other rows of the set, at 5 % over all slices of the set together (Holm)."""
    worse: bool
    """Proven worse than before, at 5 % over all slices of the set together (Holm)."""
    verdict: str
    """Of a weak slice: coverage (its share of the training rows is below half of its share of the test rows) or volume
    (it is there in proportion, so that more of it, or a stronger model, is needed); empty where nothing is said."""
    examples: list[dict[str, str]] = field(default_factory=list)
    """Rows that newly fail, newly succeed or still fail: kind, place and text."""


class Wanted(NamedTuple):
    """One number that is looked at slice by slice."""

    place: Place
    metric: Metric
    versus: str


def slices(wanted: Iterable[Wanted], measured: Measured, context: Context) -> list[Slice]:
    """Every slice of every wanted number with at least `slices.fewest` rows; the weakest first within a set."""
    found: list[Slice] = []
    known: dict[str, list[Row]] = {}
    for one in wanted:
        rows = measured.rows[one.place]
        train = known.setdefault("train", _sample(context))
        parts = list(partitions(rows, train, context))
        found += _sliced(one, rows, parts, measured, context)
    return found


def of_deciding(rows: Iterable[Mapping[str, Any]], measured: Measured, context: Context) -> list[Slice]:
    """Slices of those metric rows (differences), of pooled sets in each of them."""
    wanted: dict[Wanted, None] = {}
    for row in rows:
        metric = next(m for m in measured.evaluators[row["evaluator"]].metrics if m.name == row["metric"])
        for place in measured.rows:
            same = (place.evaluator, place.split) == (row["evaluator"], row["split"])
            pooled = row["set"] == POOLED and measured.sets[place.split, place.set].role == row["role"]
            if same and (place.set == row["set"] or pooled):
                wanted[Wanted(place, metric, row["versus"])] = None
    return slices(wanted, measured, context)


def _sample(context: Context) -> list[Row]:
    places = range(len(context.train))
    chosen = places if len(places) <= SAMPLE else sorted(random.Random(context.seed).sample(places, SAMPLE))
    return [context.train[place] for place in chosen]


# ---------------------------------------------------------------- which rows are of which slice


class Partition(NamedTuple):
    """The part of every row, and of every training row where these can be told apart alike."""

    by: str
    names: Sequence[str]
    train: Sequence[str] | None


def offered(rows: Iterable[Row]) -> list[str]:
    """What rows may be told apart by, whatever they are; then the columns that they keep."""
    return ["label", "length", "task", "topic", *sorted({name for row in rows for name in row.fields})]


def partitions(rows: Sequence[Row], train: Sequence[Row], context: Context) -> Iterator[Partition]:
    """Ways to tell the rows apart that make at least two parts: those of `slices.by`, else all that the rows offer."""
    for by in context.run.slices.by or offered(rows):
        made = _partition(by, rows, train, context)
        if made is not None and len(set(made.names)) > 1:
            yield made


def _partition(by: str, rows: Sequence[Row], train: Sequence[Row], context: Context) -> Partition | None:
    if by == "length":
        return _by_length(rows, train)
    if by == "topic":
        return _by_topic(rows, train, context.seed)
    names = [_named(row, by) for row in rows]
    distinct = Counter(names)
    if len(distinct) > MOST_CLASSES or (by == "label" and len(distinct) * FEWEST > len(rows)):
        return None
    of_train = [_named(row, by) for row in train]
    return Partition(by, names, of_train if any(of_train) else None)


def _named(row: Row, by: str) -> str:
    """The row's class or short answer, its task, or the value of a kept column; empty where it has none."""
    if by == "task":
        return row.task
    if by != "label":
        value = row.fields.get(by)
        return "" if value is None or isinstance(value, list | dict) else str(value)
    named = classes(row.columns)
    return ", ".join(named) if named is not None else answer_text(row.columns) if split(row.columns) else ""


def _by_length(rows: Sequence[Row], train: Sequence[Row]) -> Partition | None:
    """Thirds by the words of the question."""
    words = [len(subject(row.columns).split()) for row in rows]
    first, second = (int(np.quantile(words, share, method="inverted_cdf")) for share in (1 / 3, 2 / 3))
    if not first < second < max(words):
        return None

    def named(count: int) -> str:
        return f"up to {first} words" if count <= first else f"over {second} words" if count > second else middle

    middle = f"{first + 1} to {second} words"
    return Partition("length", [*map(named, words)], [named(len(subject(row.columns).split())) for row in train])


def _by_topic(rows: Sequence[Row], train: Sequence[Row], seed: int) -> Partition | None:
    from tuneforge.preparation.clusters import Clusters

    count = min(len(rows) // ROWS_PER_TOPIC, MOST_TOPICS)
    if count < 2:
        return None
    texts = [subject(row.columns) for row in rows]
    clusters = Clusters(texts, count, seed)
    return Partition("topic", clusters.of(texts), clusters.of([subject(row.columns) for row in train]))


# ---------------------------------------------------------------- what stands in them


def _sliced(
    one: Wanted, rows: Sequence[Row], parts: Sequence[Partition], measured: Measured, context: Context
) -> list[Slice]:
    evaluator, (place, metric, versus) = measured.evaluators[one.place.evaluator], one
    tuned, before = measured.cells[place, "tuned"], measured.cells.get((place, versus))
    now, then = (None if c is None else per_row(evaluator, metric, c.stats) for c in (tuned, before))
    assert now is not None
    places: dict[Name, list[int]] = {}
    for part in parts:
        for i, name in enumerate(part.names):
            places.setdefault((part.by, name), []).append(i)
    places = {at: own for at, own in places.items() if len(own) >= context.run.slices.fewest and at[1]}
    sign = 1 if metric.higher_is_better else -1
    numbers = [
        _numbers(place, evaluator, metric, {"tuned": tuned, versus: before}, o, context.seed) for o in places.values()
    ]
    weak = holm([less_than_the_rest(now, own, tuned.groups) for own in places.values()])
    worse = holm([p / 2 if sign * (made["value"] or 0.0) < 0 else 1.0 for made, p in numbers])
    trained = {part.by: Counter(part.train) for part in parts if part.train is not None}
    found = []
    for (by, name), own, (made, _), *proofs in zip(places, places.values(), numbers, weak, worse, strict=True):
        share = trained[by][name] / max(trained[by].total(), 1) if by in trained else None
        examples = _examples(rows, own, now, then)
        found.append(_slice(one, measured, (by, name), own, len(rows), share, made, proofs, examples))
    return sorted(found, key=lambda s: (s.tuned is None, sign * (s.tuned or 0.0), s.by, s.name))


def _slice(
    one: Wanted, measured: Measured, name: Name, own: Sequence[int], total: int, train_share: float | None,
    numbers: Mapping[str, Any], proofs: Sequence[float], examples: list[dict[str, str]],
) -> Slice:  # fmt: skip
    place, metric, versus = one
    test_share = len(own) / total
    weak = proofs[0] < LEVEL
    verdict = ""
    if weak and train_share is not None:
        verdict = "coverage" if train_share < test_share / 2 else "volume"
    return Slice(
        set=place.set, split=place.split, role=measured.sets[place.split, place.set].role, evaluator=place.evaluator,
        metric=metric.name, higher_is_better=metric.higher_is_better, by=name[0], name=name[1], n=len(own),
        model="tuned", versus=versus, **numbers, test_share=test_share, train_share=train_share, weak=weak,
        worse=proofs[1] < LEVEL, verdict=verdict, examples=examples,
    )  # fmt: skip


def per_row(evaluator: Evaluator, metric: Metric, stats: Mapping[str, Floats]) -> Floats:
    """(n,) the metric of each row by itself, turned so that more is better."""
    size = len(next(iter(stats.values())))
    values = stats.get(metric.name)
    if values is None or not _is_mean(values, evaluator.aggregate(stats)[metric.name]):
        one_by_one = ({key: value[i : i + 1] for key, value in stats.items()} for i in range(size))
        values = np.array([evaluator.aggregate(one)[metric.name] for one in one_by_one], dtype=np.float64)
    return values if metric.higher_is_better else -values


def _is_mean(values: Floats, metric: float) -> bool:
    """Whether the metric is the mean of its statistic, which else says only what rows it is about."""
    return math.isnan(metric) or math.isclose(metric, float(np.nanmean(values)), abs_tol=1e-9)


def _numbers(
    place: Place, evaluator: Evaluator, metric: Metric, cells: Mapping[str, Cell | None], own: Sequence[int], seed: int
) -> tuple[dict[str, float | None], float]:
    """Both variants on these rows, and their paired difference with its interval; and the difference's p-value."""
    at = np.array(own)
    kept = {
        name: Cell({k: v[at] for k, v in cell.stats.items()}, [cell.groups[i] for i in own])
        for name, cell in cells.items()
        if cell is not None
    }
    versus = next((name for name in kept if name != "tuned"), "")
    table = Table(place, "", "", kept)
    found = list(intervals(table, evaluator, metric, seed, [("tuned", versus)]))
    made = {(model, other): interval for model, other, interval, _ in found}
    p = next((p for _, other, _, p in found if other), math.nan)
    difference, tuned, base = made.get(("tuned", versus)), made["tuned", ""], made.get((versus, ""))
    numbers = {
        "value": finite(difference and difference.value), "low": finite(difference and difference.low),
        "high": finite(difference and difference.high), "base": finite(base and base.value),
        "tuned": finite(tuned.value), "tuned_low": finite(tuned.low), "tuned_high": finite(tuned.high),
    }  # fmt: skip
    return numbers, p if math.isfinite(p) else 1.0


def _examples(rows: Sequence[Row], own: Sequence[int], now: Floats, then: Floats | None) -> list[dict[str, str]]:
    """Rows that changed most, and those that are worst, the first ones of each kind; none that has no number."""
    change = np.zeros(len(now)) if then is None else now - then
    own = [i for i in own if np.isfinite(now[i]) and np.isfinite(change[i])]
    best = max((value for value in now if np.isfinite(value)), default=math.nan)
    worst = [i for i in sorted(own, key=lambda i: now[i]) if now[i] < best and change[i] == 0]
    kinds = {
        "newly wrong": [i for i in sorted(own, key=lambda i: change[i]) if change[i] < 0],
        "newly right": [i for i in sorted(own, key=lambda i: -change[i]) if change[i] > 0],
        "still wrong": worst,
    }
    return [
        {"kind": kind, "place": rows[i].place, "text": subject(rows[i].columns)[:LONGEST]}
        for kind, places in kinds.items()
        for i in places[:EXAMPLES]
    ]
