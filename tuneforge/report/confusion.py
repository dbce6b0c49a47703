"""Which classes were taken for which, as a table whose cells are shaded by their share of the row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge.evaluation.figures import in_order

MOST = 20
"""Classes that are shown: those with most rows and mistakes; the others are counted together."""
CLASSES = 300
"""Classes whose precision and recall are shown."""
PAIRS = 8
"""Mistakes that are listed."""
OTHERS = "(all others)"


@dataclass(frozen=True)
class Matrix:
    """One variant on one set: rows are what is right, columns what was predicted."""

    where: str
    model: str
    labels: Sequence[str]
    rows: Sequence[Sequence[tuple[int, int]]]
    """(how many rows, shade from 0 to 9) of each cell."""
    mistakes: Sequence[tuple[str, str, int]]
    """(what is right, what was predicted, how many rows), the most frequent first."""
    left_out: int
    """Classes that are counted together."""
    classes: Sequence[Mapping[str, Any]]
    """Rows, predictions, precision, recall and F1 of each class, at most 300."""


def matrices(confusions: Sequence[Mapping[str, Any]]) -> list[Matrix]:
    """`confusions` of metrics.json, of each set the tuned model first."""
    places = list(dict.fromkeys((c["evaluator"], c["split"], c["set"]) for c in confusions))
    order = {model: -i for i, model in enumerate(in_order(c["model"] for c in confusions))}

    def rank(one: Mapping[str, Any]) -> tuple[int, int]:
        return places.index((one["evaluator"], one["split"], one["set"])), order[one["model"]]

    return [_matrix(one) for one in sorted(confusions, key=rank) if one["labels"]]


def _matrix(one: Mapping[str, Any]) -> Matrix:
    labels, counts = [str(label) for label in one["labels"]], [[int(n) for n in row] for row in one["counts"]]
    pairs = [(n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j]
    mistakes = [(labels[i], labels[j], n) for n, i, j in sorted(pairs, key=lambda pair: -pair[0])[:PAIRS]]
    shown, table = _pooled(labels, counts)
    return Matrix(
        where=f"{one['evaluator']} on {one['split']}.{one['set']}",
        model=str(one["model"]),
        labels=shown,
        rows=[[(n, min(int(10 * n / sum(row)), 9) if n else 0) for n in row] for row in table],
        mistakes=mistakes,
        left_out=len(labels) - MOST if len(labels) > MOST else 0,
        classes=(one.get("classes") or [])[:CLASSES],
    )


def _pooled(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> tuple[list[str], list[list[int]]]:
    """The classes with most rows and predictions, in their order, and the others as one."""
    if len(labels) <= MOST:
        return list(labels), [list(row) for row in counts]
    weight = [sum(row) + sum(other[i] for other in counts) for i, row in enumerate(counts)]
    kept = sorted(sorted(range(len(labels)), key=lambda i: -weight[i])[:MOST])
    place = {old: new for new, old in enumerate(kept)}
    table = [[0] * (MOST + 1) for _ in range(MOST + 1)]
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            table[place.get(i, MOST)][place.get(j, MOST)] += n
    return [*(labels[i] for i in kept), OTHERS], table
