"""Subsets to a budget, held against all subsets where there are few, and against plain greedy choices."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tuneforge.preparation import selection
from tuneforge.preparation.selection import even, facility_location, k_center, nearest, proportional


def unit(seed: int, rows: int, width: int = 3) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(rows, width)).astype("float32")
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def radius(vectors: np.ndarray, chosen: tuple[int, ...] | list[int]) -> float:
    apart = np.linalg.norm(vectors[:, None] - vectors[None, list(chosen)], axis=2)
    return float(apart.min(axis=1).max())


def covered(vectors: np.ndarray, chosen: tuple[int, ...] | list[int]) -> float:
    return float((vectors @ vectors[list(chosen)].T).max(axis=1).clip(min=0).sum())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [1, 2, 3, 4])
def test_k_center_is_within_twice_the_best_radius(seed: int, budget: int) -> None:
    vectors = unit(seed, 11)
    chosen = k_center(vectors, budget)
    best = min(radius(vectors, some) for some in itertools.combinations(range(11), budget))
    assert len(set(chosen)) == budget
    assert best - 1e-6 <= radius(vectors, chosen) <= 2 * best + 1e-6


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [1, 2, 3, 4])
def test_facility_location_reaches_its_bound_and_the_first_choice_is_the_best(seed: int, budget: int) -> None:
    vectors = unit(seed, 11)
    chosen = facility_location(vectors, budget)
    best = max(covered(vectors, some) for some in itertools.combinations(range(11), budget))
    assert len(set(chosen)) == budget
    assert covered(vectors, chosen) >= (1 - 1 / math.e) * best
    assert budget > 1 or covered(vectors, chosen) == pytest.approx(best)


@pytest.mark.parametrize("block", [2, 1024])
def test_gains_that_are_kept_choose_as_plain_greedy_does(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "BLOCK", block)
    vectors = unit(1, 120, 8).astype("float64")
    plain: list[int] = []
    for _ in range(30):
        rest = [i for i in range(120) if i not in plain]
        plain.append(max(rest, key=lambda i: covered(vectors, [*plain, i])))
    assert facility_location(vectors, 30) == plain


def test_far_points_first_and_every_group_before_any_twice() -> None:
    rng = np.random.default_rng(0)
    groups = np.eye(6).repeat(20, axis=0) + rng.normal(scale=0.02, size=(120, 6))
    vectors = (groups / np.linalg.norm(groups, axis=1, keepdims=True)).astype("float32")
    for choose in (k_center, facility_location):
        assert sorted(index // 20 for index in choose(vectors, 6)) == list(range(6))


def test_equal_rows_and_a_budget_above_all_end() -> None:
    same = np.ones((5, 1), dtype="float32")
    assert sorted(k_center(same, 9)) == sorted(facility_location(same, 9)) == [0, 1, 2, 3, 4]


def test_a_sample_is_represented_where_rows_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(3, 400, 6)
    exact = covered(vectors, facility_location(vectors, 10))
    monkeypatch.setattr(selection, "REPRESENTED", 100)
    sampled = facility_location(vectors, 10)
    drawn = [covered(vectors, list(np.random.default_rng(i).permutation(400)[:10])) for i in range(20)]
    assert max(drawn) < covered(vectors, sampled) <= exact + 1e-3


@pytest.mark.parametrize("budget", range(40))
@pytest.mark.parametrize("sizes", [(1, 5, 30), (10, 10, 10), (3, 3, 4, 20), (7,)])
def test_even_shares_use_the_budget_and_differ_by_one_at_most(sizes: tuple[int, ...], budget: int) -> None:
    named = {f"class {i}": size for i, size in enumerate(sizes)}
    found = even(named, budget)
    assert sum(found.values()) == min(budget, sum(sizes))
    assert all(found[name] <= named[name] for name in named)
    unfilled = [found[name] for name in named if found[name] < named[name]]
    assert not unfilled or max(unfilled) - min(unfilled) <= 1
    assert not unfilled or all(count <= min(unfilled) + 1 for count in found.values())


def test_proportional_shares() -> None:
    assert proportional([0.5, 0.25, 0.25], 10) == [5, 3, 2]
    assert proportional([1 / 3] * 3, 10) == [4, 3, 3]
    assert sum(proportional([0.17, 0.03, 0.8], 7)) == 7


def test_nearest_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "BLOCK", 4)
    rows, targets = unit(0, 10), unit(1, 3)
    assert nearest(rows, targets) == pytest.approx((rows @ targets.T).max(axis=1))
