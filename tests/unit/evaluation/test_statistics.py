"""Intervals against published numbers and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.optimize import brentq

from tuneforge.evaluation import statistics as ours

RNG = np.random.default_rng(0)


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def mean(stats: dict[str, ours.Floats]) -> float:
    return float(stats["x"].mean())


@pytest.mark.parametrize(("k", "n"), [(0, 200), (1, 10), (7, 20), (81, 263), (200, 200)])
def test_wilson_equals_scipy(k: int, n: int) -> None:
    expected = scipy_stats.binomtest(k, n).proportion_ci(method="wilson")
    assert ours.wilson(k, n) == pytest.approx((k / n, expected.low, expected.high), abs=1e-12)


def test_wilson_at_nothing_of_200_is_not_degenerate() -> None:
    assert ours.wilson(0, 200).high == pytest.approx(0.019, abs=5e-4)


def test_newcombe_equals_the_published_example() -> None:
    # Complete response before and after consolidation, Cavo et al. 2012, in Fagerland, Lydersen and Laake,
    # Statistical Analysis of Contingency Tables (2017), table 8.3: -0.062, 95 % from -0.119 to -0.005.
    assert ours.newcombe(59, 6, 16, 80) == pytest.approx((-0.0621, -0.1186, -0.0046), abs=5e-5)


def test_newcombe_is_antisymmetric_and_stays_in_range() -> None:
    there, back = ours.newcombe(3, 9, 1, 2), ours.newcombe(3, 1, 9, 2)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    extreme = ours.newcombe(0, 5, 0, 0)
    assert extreme.value == 1
    assert extreme.low < 1 == extreme.high


def test_equal_answers_are_never_a_proven_difference() -> None:
    right = RNG.integers(0, 2, 50).astype(float)
    found = ours.proportion_difference(right, right, alone(50))
    assert found.low < 0 == found.value < found.high
    assert ours.jackknife({"x": right}, mean, alone(50), versus={"x": right}) == (0, 0, 0)


def test_one_row_proves_nothing() -> None:
    one, zero = np.ones(1), np.zeros(1)
    assert ours.proportion_difference(one, zero, ["a"]).low < 0
    assert math.isnan(ours.jackknife({"x": one}, mean, ["a"], versus={"x": zero}).low)


def halls(t: float, a: float) -> float:
    """The root of Hall's cubic, up to where it is flat."""

    def cubic(x: float) -> float:
        return x + a * x**2 / 3 + a**2 * x**3 / 27 + a / 6

    flat = -3 / a
    if (cubic(flat) - t) * a > 0:
        return flat
    return float(brentq(lambda x: cubic(x) - t, -50, 50, xtol=1e-13))


@pytest.mark.parametrize("n", [3, 12, 60])
@pytest.mark.parametrize("tail", [1, -1])
def test_a_mean_gets_students_t_on_the_short_side_and_halls_on_the_long(n: int, tail: int) -> None:
    x = tail * np.random.default_rng(n).exponential(1, n)
    student = scipy_stats.t.interval(0.95, n - 1, x.mean(), scipy_stats.sem(x))
    skewness = float(scipy_stats.skew(x, bias=False)) / math.sqrt(n)
    t = float(scipy_stats.t.ppf(0.975, n - 1))
    found = ours.jackknife({"x": x}, mean, alone(n))
    assert skewness * tail > 0
    short, long = (found.low, found.high) if tail > 0 else (found.high, found.low)
    assert short == pytest.approx(student[0 if tail > 0 else 1], abs=1e-3)
    assert long == pytest.approx(
        x.mean() - scipy_stats.sem(x) * max(t, abs(halls(-tail * t, skewness))) * -tail, abs=2e-3
    )


def test_a_large_skewness_of_few_rows_is_not_extrapolated() -> None:
    # One row of ten: Hall's cubic would put the upper bound 12 standard errors off.
    x = np.array([1.0] + [0.0] * 9)
    a = float(scipy_stats.skew(x, bias=False)) / math.sqrt(10)
    found = ours.jackknife({"x": x}, mean, alone(10))
    assert (found.high - found.value) / scipy_stats.sem(x) == pytest.approx(3 / a)


def test_differences_are_paired() -> None:
    hard, gain = RNG.normal(0, 9, 100), RNG.normal(0.5, 1, 100)
    found = ours.jackknife({"x": hard + gain}, mean, alone(100), versus={"x": hard})
    assert found == pytest.approx(ours.jackknife({"x": gain}, mean, alone(100)))


def test_the_error_of_a_ratio_is_that_of_the_delta_method() -> None:
    size = RNG.lognormal(3, 0.4, 900)
    x = size * RNG.normal(2, 0.5, 900)
    found = ours.jackknife({"x": x, "size": size}, lambda s: float(s["x"].sum() / s["size"].sum()), alone(900))
    error = scipy_stats.sem(x - found.value * size) / size.mean()
    assert found.high - found.low == pytest.approx(2 * 1.9626 * error, rel=0.02)


def test_a_ratio_is_left_out_with_its_rows() -> None:
    # Every row has the same ratio: whichever row is missing, sums give it exactly.
    size = RNG.uniform(1, 100, 60)
    stats = {"nats": 0.3 * size, "bytes": size}
    found = ours.jackknife(stats, lambda s: float(s["nats"].sum() / s["bytes"].sum()), alone(60))
    assert found.low == found.value == found.high == pytest.approx(0.3)


def test_many_rows_are_left_out_in_blocks_of_chance() -> None:
    x = np.sort(RNG.normal(size=2 * ours.MOST + 1))
    found, again = (ours.jackknife({"x": x}, mean, alone(len(x)), seed) for seed in (0, 0))
    other = ours.jackknife({"x": x}, mean, alone(len(x)), 1)
    assert found == again != other
    # Blocks in the order of the file would all be alike here, or as different as can be.
    for one in (found, other):
        assert one.high - one.low == pytest.approx(2 * 1.9612 * scipy_stats.sem(x), rel=0.1)


def test_what_is_no_number_without_some_row_has_no_interval() -> None:
    stats = {"x": np.array([1.0, 0.0, 0.0])}
    found = ours.jackknife(stats, lambda s: 1.0 if s["x"].any() else math.nan, alone(3))
    assert found.value == 1
    assert math.isnan(found.low)


def test_rows_that_a_metric_is_not_about_are_no_observations() -> None:
    x = np.array([1.0, 2.0, 4.0, 9.0])
    padded = np.concatenate([x, np.full(200, math.nan)])
    found = ours.jackknives(
        {"x": padded}, lambda s: np.array([np.nanmean(s["x"])]), alone(204), about=[~np.isnan(padded)]
    )[0]
    assert found == pytest.approx(ours.jackknife({"x": x}, mean, alone(4)))


def test_no_interval_leaves_the_bounds_of_its_metric() -> None:
    assert ours.Interval(0.9, 0.7, 1.2).within(0, 1) == (0.9, 0.7, 1)
    assert ours.Interval(0.1, -0.2, 0.3).within(0, 1) == (0.1, 0, 0.3)
    assert ours.Interval(1.5, 1.4, 1.6).within(0, 1) == (1.5, 1.4, 1.5)
    assert math.isnan(ours.Interval(1, math.nan, math.nan).within(0, 1).low)


def test_copies_in_one_group_do_not_narrow_an_interval() -> None:
    x = RNG.normal(size=40)
    copied, groups = np.repeat(x, 10), [g for g in alone(40) for _ in range(10)]
    assert ours.jackknife({"x": copied}, mean, groups) == pytest.approx(ours.jackknife({"x": x}, mean, alone(40)))
    right = (x > 0).astype(float)
    # 40 groups estimate their variance: n / (n - 1), and the quantile of t (2.0227) in place of z (1.9600).
    wider = math.sqrt(40 / 39) * scipy_stats.t.ppf(0.975, 39) / scipy_stats.norm.ppf(0.975)
    once, copies = ours.proportion(right, alone(40)), ours.proportion(np.repeat(right, 10), groups)
    assert copies.high - copies.low == pytest.approx((once.high - once.low) * wider, rel=0.01)
    first, second = right, np.roll(right, 1)
    copies = ours.proportion_difference(np.repeat(first, 10), np.repeat(second, 10), groups)
    once = ours.proportion_difference(first, second, alone(40))
    assert copies.high - copies.low == pytest.approx((once.high - once.low) * wider, rel=0.02)


def test_ties_count_half() -> None:
    halves = np.full(30, 0.5)
    assert ours.proportion(halves, alone(30)).value == 0.5
    found = ours.proportion_difference(halves, np.zeros(30), alone(30))
    assert found.value == 0.5
    assert found.low > 0


def test_students_quantiles_equal_scipys() -> None:
    found = [ours.student(degrees) for degrees in (1, 2, 9, 10, 19, 300)]
    assert found == pytest.approx(scipy_stats.t.ppf(0.975, [1, 2, 9, 10, 19, 300]), abs=4e-4)
    assert ours.student(4) < ours.student(3.5) < ours.student(3)


@pytest.mark.parametrize(("groups", "within"), [(12, 0.5), (20, 0.1), (60, 0.5)])
def test_shares_of_grouped_rows_are_covered(groups: int, within: float) -> None:
    rng, inside = np.random.default_rng(1), []
    for _ in range(600):
        share = rng.uniform(0.2, 0.8)
        # Beta-binomial rows: `within` is the correlation of two rows of one group.
        own = rng.beta(share * (1 / within - 1), (1 - share) * (1 / within - 1), groups)
        names = np.repeat(np.arange(groups), rng.integers(1, 10, groups))
        found = ours.proportion((rng.random(len(names)) < own[names]).astype(float), [str(i) for i in names])
        inside.append(found.low <= share <= found.high)
    assert 0.93 <= np.mean(inside) <= 0.975


def ratio(stats: dict[str, ours.Floats]) -> float:
    return float(stats["x"].sum() / stats["size"].sum())


def skewed(kind: str, rng: np.random.Generator, n: int) -> dict[str, ours.Floats]:
    """Rows whose mean, or ratio of sums, is 1."""
    if kind == "ratio":
        size = rng.lognormal(3, 0.6, n)
        return {"x": size * rng.lognormal(-0.045, 0.3, n), "size": size}
    x = rng.exponential(1, n) if kind == "exponential" else rng.lognormal(-0.18, 0.6, n)
    return {"x": x, "size": np.ones(n)}


@pytest.mark.parametrize("kind", ["exponential", "lognormal", "ratio"])
def test_skewed_metrics_are_covered_from_few_rows(kind: str) -> None:
    # Percentiles of the bootstrap cover .90 to .91 of these, Student's t .91 to .92.
    rng, groups = np.random.default_rng(2), alone(25)
    found = [ours.jackknife(skewed(kind, rng, 25), ratio, groups) for _ in range(1500)]
    assert 0.92 <= np.mean([i.low <= 1 <= i.high for i in found]) <= 0.97
    assert np.mean([i.high < 1 for i in found]) <= 0.055
