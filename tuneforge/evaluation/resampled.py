"""Intervals and p-values of all metrics of an evaluator at once: one choice of rows serves them all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tuneforge.components import Evaluator
from tuneforge.evaluation.measure import Cell
from tuneforge.evaluation.significance import swaps
from tuneforge.evaluation.statistics import Floats, Interval, jackknives


class Resampled:
    """What resampling says of one evaluator's variants (`cells`), computed when it is first asked for, by metric."""

    def __init__(self, cells: Mapping[str, Cell], evaluator: Evaluator, seed: int) -> None:
        self._cells, self._evaluator, self._seed = cells, evaluator, seed
        self._names = [metric.name for metric in evaluator.metrics]
        self.alone, self.differences, self.p_values = cache(self._alone), cache(self._differences), cache(self._swaps)

    def _of(self, stats: Mapping[str, Floats]) -> Floats:
        found = self._evaluator.aggregate(stats)
        return np.array([found[name] for name in self._names], dtype=np.float64)

    def _about(self, *cells: Cell) -> list[NDArray[np.bool_] | None]:
        """For each metric the rows (n,) that it is about on some side; None: all."""
        named = [[cell.stats[name] for cell in cells if name in cell.stats] for name in self._names]
        return [np.logical_or.reduce([~np.isnan(one) for one in sides]) if sides else None for sides in named]

    def _alone(self, model: str) -> dict[str, Interval]:
        cell = self._cells[model]
        found = jackknives(cell.stats, self._of, cell.groups, self._seed, about=self._about(cell))
        # Rows that all agree tell nothing of those that would not: F1 of 20 right rows is not 1 for certain.
        told = [i if i.low < i.high else Interval(i.value, math.nan, math.nan) for i in found]
        return dict(zip(self._names, told, strict=True))

    def _differences(self, model: str, versus: str) -> dict[str, Interval]:
        one, other = self._cells[model], self._cells[versus]
        found = jackknives(one.stats, self._of, one.groups, self._seed, other.stats, self._about(one, other))
        return dict(zip(self._names, found, strict=True))

    def _swaps(self, model: str, versus: str) -> dict[str, float]:
        one, other = self._cells[model], self._cells[versus]
        return dict(zip(self._names, swaps(one.stats, other.stats, self._of, one.groups, self._seed), strict=True))
