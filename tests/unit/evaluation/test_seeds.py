"""Several seeds are one number: covered, averaged, never ranked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tuneforge.evaluation.seeds import combined, over_seeds, read_samples, row_error


def line(value: float | None, half: float | None = 0.1, **other: Any) -> dict[str, Any]:
    bounds = (None, None) if value is None or half is None else (value - half, value + half)
    row = {"model": "tuned", "evaluator": "e", "metric": "m", "set": "s", "split": "test", "role": "target",
           "protocol": "p", "versus": "", "n": 4, "higher_is_better": True}  # fmt: skip
    return row | {"value": value, "low": bounds[0], "high": bounds[1]} | other


def test_without_an_error_of_rows_it_is_the_t_interval_over_seeds() -> None:
    values = [0.61, 0.58, 0.66, 0.6]
    expected = scipy_stats.t.interval(0.95, 3, np.mean(values), scipy_stats.sem(values))
    assert combined(values, 0.0, 100)[1:] == pytest.approx(expected, rel=1e-3)
    # Seeds that agree leave the error of the rows, with its own degrees of freedom.
    same = combined([0.6, 0.6], 0.02, 100)
    assert same.high - 0.6 == pytest.approx(0.02 * scipy_stats.t.ppf(0.975, 99), rel=1e-3)


def test_few_seeds_and_no_numbers() -> None:
    assert math.isnan(combined([0.5], 0.1, 10).low)
    assert math.isnan(combined([], 0.1, 10).value)
    assert math.isnan(combined([0.5, 0.6], math.nan, 10).low)
    assert combined([0.5, 0.5], 0.0, 10) == (0.5, 0.5, 0.5)
    alone, none = over_seeds([[line(0.5), line(None, metric="f1")]])
    assert (alone["seeds"], alone["value"], alone["low"], alone["between"]) == (1, 0.5, 0.4, None)
    assert (none["seeds"], none["value"], none["low"]) == (0, None, None)
    (partly,) = over_seeds([[line(0.5)], [line(None)], [line(0.7)]])
    assert (partly["seeds"], partly["value"]) == (2, pytest.approx(0.6))
    (unbounded,) = over_seeds([[line(0.5, None)], [line(0.7, None)]])
    assert (unbounded["value"], unbounded["low"]) == (pytest.approx(0.6), None)


def test_a_bound_of_nought_is_a_bound() -> None:
    (alone,) = over_seeds([[line(0.1)]])
    assert alone["low"] == 0.0


def test_a_line_ends_where_json_lines_end(tmp_path: Path) -> None:
    one = {"split": "test", "set": "s", "id": "a", "scores": {}, "prompt": "a\u2028b\x85c"}
    (tmp_path / "samples.jsonl").write_text(json.dumps(one, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_samples(tmp_path) == {("test", "s"): [{"id": "a", "scores": {}}]}


def test_rows_of_another_protocol_are_not_averaged() -> None:
    found = over_seeds([[line(0.5)], [line(0.7, protocol="q")]])
    assert [row["seeds"] for row in found] == [1, 1]


def written(folder: Path, scores: list[float], base: list[float]) -> Any:
    folder.mkdir()
    lines = [
        {"split": "test", "set": "s", "id": str(i), "scores": {"tuned": {"e.m": a}, "base": {"e.m": b}}}
        for i, (a, b) in enumerate(zip(scores, base, strict=True))
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return read_samples(folder)


def test_samples_tell_how_much_less_an_average_varies(tmp_path: Path) -> None:
    base = [0.0, 0, 0, 0]
    first = written(tmp_path / "a", [1.0, 0, 1, 0], base)
    second = written(tmp_path / "b", [0.0, 1, 0, 1], base)
    rows = [line(0.5), line(0.5)]
    (plain,) = over_seeds([[row] for row in rows])
    (told,) = over_seeds([[row] for row in rows], [first, second])
    # The two seeds err on opposite rows: their average is .5 on every row, and varies not at all.
    assert (told["low"], told["high"]) == (0.5, 0.5)
    assert plain["low"] < 0.5
    (apart,) = over_seeds([[r | {"versus": "base"}] for r in rows], [first, second])
    assert apart["low"] == 0.5
    # A metric that is not the mean of what stands in the samples is left as it is.
    (other,) = over_seeds([[line(0.9)], [line(0.9)]], [first, second])
    assert other["high"] - other["low"] == pytest.approx(plain["high"] - plain["low"])
    assert over_seeds([[line(0.5)], [line(0.5)]], [read_samples(tmp_path), read_samples(tmp_path)])[0] == plain


def test_a_share_of_rows_stays_between_none_and_all(tmp_path: Path) -> None:
    base = [0.0, 0, 0, 0]
    samples = [
        written(tmp_path / name, scores, base) for name, scores in (("a", [1.0, 1, 1, 1]), ("b", [1.0, 1, 1, 0]))
    ]
    runs = [[line(1.0), line(1.0, versus="base")], [line(0.75), line(0.75, versus="base")]]
    assert all(row["high"] > 1 for row in over_seeds(runs))
    share, difference = over_seeds(runs, samples)
    assert (share["low"], share["high"]) == (0.0, 1.0)
    assert difference["low"] < 0
    assert difference["high"] == 1.0
    # What is no share has no such ends.
    loose = [
        written(tmp_path / name, scores, base)
        for name, scores in (("c", [0.9, 1.1, 1, 1]), ("d", [0.7, 0.8, 0.8, 0.7]))
    ]
    (mean,) = over_seeds([[line(1.0)], [line(0.75)]], loose)
    assert mean["high"] > 1


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.0), (3, 0.1), (5, 0.03)])
def test_the_mean_over_all_seeds_and_rows_is_covered(seeds: int, spread: float) -> None:
    rng, inside, n = np.random.default_rng(seeds), [], 100
    for _ in range(400):
        hard = rng.normal(0, 0.3, n)
        runs = [0.5 + rng.normal(0, spread) + hard + rng.normal(0, 0.3, n) for _ in range(seeds)]
        rows = [line(float(run.mean()), 1.96 * float(scipy_stats.sem(run)), n=n) for run in runs]
        found = combined([row["value"] for row in rows], row_error(rows, runs), n)
        inside.append(found.low <= 0.5 <= found.high)
    assert np.mean(inside) >= 0.94
