"""What intervals, p-values and guarantees promise, counted on simulated rows whose truth is known.

    python benchmarks/intervals.py --repeats 400

Beside each coverage stands that of a named reference on the same rows: Wald's interval for shares and their
differences, Student's t over rows for everything else. *Better* is what `verdict.decide` says of a difference whose
lower bound is above 0; on pairs that are alike 2.5 % of cases are meant. With 400 repeats a share of 95 % is
known to 1.1 %, one of 2.5 % to 0.8 %. About 4 CPU-minutes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from tuneforge.evaluation import statistics as intervals
from tuneforge.evaluation.guarantee import threshold
from tuneforge.evaluation.seeds import combined, row_error
from tuneforge.evaluation.significance import detectable, reaching, sign_flip, swaps
from tuneforge.evaluation.statistics import Floats, Interval, Z

Rng = np.random.Generator
Stats = Mapping[str, Floats]
SIZES = (20, 50, 200, 1000)
SAMPLES = 400
"""Bootstrap samples: fewer than a run takes, as each simulated set needs its own."""


def groups_of(n: int, size: int = 1) -> list[str]:
    return [str(i // size) for i in range(n)]


def mean(stats: Stats) -> float:
    return float(stats["x"].mean())


def ratio(stats: Stats) -> float:
    return float(stats["x"].sum() / stats["size"].sum())


def f1(stats: Stats) -> float:
    both = 2 * stats["both"].sum() + stats["one"].sum()
    return float(2 * stats["both"].sum() / both) if both else math.nan


def t_interval(values: Floats) -> tuple[float, float]:
    return scipy_stats.t.interval(0.95, len(values) - 1, values.mean(), scipy_stats.sem(values))


# ---------------------------------------------------------------- coverage


def shares(rng: Rng, n: int) -> tuple[float, Interval, tuple[float, float]]:
    p = rng.uniform(0.05, 0.95)
    x = (rng.random(n) < p).astype(float)
    half = Z * math.sqrt(x.mean() * (1 - x.mean()) / n)
    return p, intervals.proportion(x, groups_of(n)), (x.mean() - half, x.mean() + half)


def grouped(rng: Rng, n: int) -> tuple[float, Interval, tuple[float, float]]:
    """Five rows a group, correlated by .5; the reference takes them for independent."""
    p = rng.uniform(0.2, 0.8)
    x = (rng.random(5 * n) < np.repeat(rng.beta(p, 1 - p, n), 5)).astype(float)
    half = Z * math.sqrt(x.mean() * (1 - x.mean()) / (5 * n))
    return p, intervals.proportion(x, groups_of(5 * n, 5)), (x.mean() - half, x.mean() + half)


def share_pairs(rng: Rng, n: int) -> tuple[float, Interval, tuple[float, float]]:
    """Half of the rows get the same answer from both."""
    p, gain = rng.uniform(0.1, 0.8), rng.uniform(0, 0.15)
    u = rng.random(n)
    v = np.where(rng.random(n) < 0.5, u, rng.random(n))
    a, b = (u < p + gain).astype(float), (v < p).astype(float)
    half = Z * (a - b).std() / math.sqrt(n)
    d = (a - b).mean()
    return gain, intervals.proportion_difference(a, b, groups_of(n)), (d - half, d + half)


def bounded_means(rng: Rng, n: int) -> tuple[float, Interval, tuple[float, float]]:
    """Scores from 0 to 1, most of them low, as of overlapping words."""
    x = rng.beta(0.7, 1.8, n)
    return 0.28, intervals.bootstrap({"x": x}, mean, groups_of(n), 0, samples=SAMPLES), t_interval(x)


def skewed_means(rng: Rng, n: int) -> tuple[float, Interval, tuple[float, float]]:
    x = rng.exponential(1, n)
    return 1.0, intervals.bootstrap({"x": x}, mean, groups_of(n), 0, samples=SAMPLES), t_interval(x)


def ratios(rng: Rng, n: int) -> tuple[float, Interval, tuple[float, float]]:
    """Bits per byte: rows of very uneven length; the reference averages over rows."""
    size = rng.lognormal(3, 0.6, n)
    stats = {"x": size * rng.lognormal(0, 0.3, n), "size": size}
    found = intervals.bootstrap(stats, ratio, groups_of(n), 0, samples=SAMPLES)
    return math.exp(0.045), found, t_interval(stats["x"] / size)


def f1s(rng: Rng, n: int) -> tuple[float, Interval, tuple[float, float]]:
    true = rng.random(n) < 0.4
    said = np.where(true, rng.random(n) < 0.8, rng.random(n) < 0.2)
    stats = {"both": (true & said).astype(float), "one": (true ^ said).astype(float)}
    found = intervals.bootstrap(stats, f1, groups_of(n), 0, samples=SAMPLES)
    return 0.64 / (0.64 + 0.2), found, t_interval((true == said).astype(float))


COVERED: dict[str, Callable[[Rng, int], tuple[float, Interval, tuple[float, float]]]] = {
    "share (Wilson)": shares,
    "share, n groups of 5": grouped,
    "paired shares (Newcombe)": share_pairs,
    "mean of bounded scores": bounded_means,
    "mean of exponential scores": skewed_means,
    "ratio of sums": ratios,
    "F1": f1s,
}


def coverage(repeats: int) -> Iterator[str]:
    yield f"{'95 % intervals cover':28}" + "".join(f"{f'n={n}':>20}" for n in SIZES) + "   (reference)"
    for what, simulate in COVERED.items():
        cells = []
        for n in SIZES:
            rng, ours, theirs = np.random.default_rng(n), 0, 0
            for _ in range(repeats):
                truth, found, reference = simulate(rng, n)
                ours += found.low <= truth <= found.high
                theirs += reference[0] <= truth <= reference[1]
            cells.append(f"{ours / repeats:12.3f} ({theirs / repeats:.3f})")
        yield f"{what:28}" + "".join(f"{cell:>20}" for cell in cells)


# ---------------------------------------------------------------- pairs that are alike


def alike(kind: str, rng: Rng, n: int) -> tuple[Interval, float]:
    """The interval and p-value of two variants that only differ by chance."""
    if kind.startswith("shares"):
        same = {"shares": 0.0, "shares, 90 % ties": 0.9, "shares in groups": 0.5}[kind]
        size = 5 if kind.endswith("groups") else 1
        hard = np.repeat(rng.random(-(-n // size)), size)[:n]
        u, v = (np.where(rng.random(n) < same, hard, rng.random(n)) for _ in range(2))
        a, b, names = (u < 0.6).astype(float), (v < 0.6).astype(float), groups_of(n, size)
        return intervals.proportion_difference(a, b, names), sign_flip(a - b, names, 0)
    hard, size = rng.lognormal(0, 1, n), rng.lognormal(3, 1, n)
    a, b = (hard * rng.lognormal(0, 0.5, n) for _ in range(2))
    if kind == "means, long tails":
        found, p = intervals.bootstrap({"x": a}, mean, groups_of(n), 0, {"x": b}, SAMPLES), 0.0
        p = sign_flip(a - b, groups_of(n), 0)
    else:
        one, other = ({"x": x * size, "size": size} for x in (a, b))
        found = intervals.bootstrap(one, ratio, groups_of(n), 0, other, SAMPLES)
        p = swaps(one, other, lambda s: np.array([ratio(s)]), groups_of(n), 0)[0]
    return reaching(found, p), p


def false_better(repeats: int) -> Iterator[str]:
    yield f"{'alike: better / p <= .05':28}" + "".join(f"{f'n={n}':>20}" for n in SIZES[:3])
    for kind in ("shares", "shares, 90 % ties", "shares in groups", "means, long tails", "ratios, long tails"):
        cells = []
        for n in SIZES[:3]:
            rng, times = np.random.default_rng(n), repeats if not kind.startswith("ratios") else repeats // 4
            found = [alike(kind, rng, n) for _ in range(times)]
            better = np.mean([interval.low > 0 for interval, _ in found])
            cells.append(f"{better:.3f} / {np.mean([p <= 0.05 for _, p in found]):.3f}")
        yield f"{kind:28}" + "".join(f"{cell:>20}" for cell in cells)


# ---------------------------------------------------------------- power, selection, seeds


def power(repeats: int) -> str:
    """Rows that change for the better and for the worse with .1 each: is what they can show found?"""
    rng, n = np.random.default_rng(0), 300

    def pair(gain: float) -> Interval:
        u = rng.random(n)
        both = (u > 0.5).astype(float)
        up, down = 0.1 + gain / 2, 0.1 - gain / 2
        a, b = np.where(u < up, 1.0, both), np.where((u >= up) & (u < up + down), 1.0, both)
        return intervals.proportion_difference(a, b, groups_of(n))

    able = float(np.mean([detectable(pair(0.0)) for _ in range(50)]))
    found = np.mean([pair(able).low > 0 for _ in range(2 * repeats)])
    return f"300 rows can show {able:.3f}: found in {found:.3f} of cases (80 % promised)"


def guarantee(repeats: int) -> str:
    """Selective answers: how often errors among what is answered exceed the target, in the whole population."""
    rng, cells = np.random.default_rng(0), []
    for sharpness, target in ((1.0, 0.3), (6.0, 0.1), (20.0, 0.05)):
        sure_of_all = rng.beta(sharpness, 1, 200_000)
        wrong_of_all = 1 - sure_of_all
        broken, shares = 0, []
        for _ in range(repeats):
            sure = rng.beta(sharpness, 1, 400)
            found = threshold(sure, (rng.random(400) < sure).astype(float), target, 0.05)
            shares.append(float((sure_of_all >= found.value).mean()) if found else 0.0)
            broken += bool(found and wrong_of_all[sure_of_all >= found.value].mean() > target)
        cells.append(f"target {target:g}: kept in {1 - broken / repeats:.3f}, {np.mean(shares):.0%} answered")
    return "; ".join(cells) + " (95 % promised)"


def over_seeds(repeats: int) -> str:
    rng, cells, n = np.random.default_rng(0), [], 100
    for seeds, spread in ((2, 0.05), (3, 0.0), (3, 0.1), (5, 0.03)):
        inside, alone = 0, 0
        for _ in range(repeats):
            hard = rng.normal(0, 0.3, n)
            runs = [0.5 + rng.normal(0, spread) + hard + rng.normal(0, 0.3, n) for _ in range(seeds)]
            rows: list[Any] = [dict(zip(("low", "high"), t_interval(run), strict=True)) for run in runs]
            found = combined([float(run.mean()) for run in runs], row_error(rows, runs), n)
            inside += found.low <= 0.5 <= found.high
            alone += rows[0]["low"] <= 0.5 <= rows[0]["high"]
        cells.append(f"{seeds} seeds, spread {spread:g}: {inside / repeats:.3f} (one seed alone {alone / repeats:.3f})")
    return "; ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400)
    repeats = parser.parse_args().repeats
    for line in coverage(repeats):
        print(line, flush=True)
    print()
    for line in false_better(repeats):
        print(line, flush=True)
    print(f"\npower       {power(repeats)}\nselective   {guarantee(repeats)}\nseeds       {over_seeds(repeats)}")


if __name__ == "__main__":
    main()
