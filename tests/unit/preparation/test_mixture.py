"""Mixtures: what comes out is what was asked for, to rounding."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tuneforge.context import RunContext
from tuneforge.data.json import Json
from tuneforge.data.share import Share
from tuneforge.errors import ConfigError, DataRefused
from tuneforge.preparation.prepare import prepare, refuse, write
from tuneforge.preparation.weights import weighted
from tuneforge.rows import Row
from tuneforge.rules import mixture_problems
from tuneforge.sections import Mixture, TrainerSettings
from tuneforge.transform.exact_dedup import ExactDedup


@pytest.fixture
def source(jsonl: Any) -> Any:
    """A source of that many rows, unlike those of every other key."""

    def make(key: str, rows: int, **settings: Any) -> Json:
        lines = [{"prompt": f"{key} {n}", "completion": f"{n}"} for n in range(rows)]
        return Json(path=jsonl(f"{key}.jsonl", lines), **settings)

    return make


def seen(rows: Sequence[Row]) -> dict[str, int]:
    return dict(Counter(row.source.removeprefix("data.") for row in rows))


def per_row(rows: Sequence[Row], key: str) -> Counter[int]:
    """How often a row stands there: how many rows."""
    return Counter(Counter(str(row.columns["prompt"]) for row in rows if row.source == f"data.{key}").values())


def epochs(number: int | None, steps: int = -1) -> TrainerSettings:
    return TrainerSettings(max_epochs=number, max_steps=steps)


@pytest.mark.parametrize(
    ("sizes", "settings", "expected"),
    [
        ({"a": 950, "b": 400}, {"b": {"proportion": 0.05}}, {"a": 950, "b": 50}),
        ({"a": 90, "b": 4}, {"b": {"proportion": 0.1}}, {"a": 90, "b": 10}),
        (
            {"a": 100, "b": 7, "c": 9},
            {"b": {"proportion": 0.3}, "c": {"proportion": 0.2}},
            {"a": 100, "b": 60, "c": 40},
        ),
        ({"a": 60, "b": 30, "c": 50}, {"c": {"proportion": 0.25}}, {"a": 60, "b": 30, "c": 30}),
        ({"a": 60, "b": 30, "c": 50}, {"b": {"weight": 2}, "c": {"proportion": 0.2}}, {"a": 60, "b": 60, "c": 30}),
        ({"a": 10, "b": 90}, {"a": {"proportion": 0.7}, "b": {"proportion": 0.3}}, {"a": 70, "b": 30}),
        ({"a": 10, "b": 41}, {"b": {"epochs": 0.5}}, {"a": 10, "b": 20}),
        ({"a": 10, "b": 40}, {"b": {"epochs": 2.5}}, {"a": 10, "b": 100}),
    ],
)
def test_realised_counts_are_those_asked_for(
    source: Any, prepared: Any, sizes: dict[str, int], settings: dict[str, Any], expected: dict[str, int]
) -> None:
    data = {key: source(key, rows, **settings.get(key, {})) for key, rows in sizes.items()}
    found = prepared(data=data, trainer=epochs(1))
    assert seen(found.train) == expected
    whole = sum(expected.values())
    for part in found.mixture:
        key = part.source.removeprefix("data.")
        assert (part.rows, part.seen, part.share) == (sizes[key], expected[key], expected[key] / whole)
        assert part.repeats == expected[key] / sizes[key]
        assert part.used == min(sizes[key], expected[key])
        assert part.asked == ", ".join(f"{name}={value:g}" for name, value in settings.get(key, {}).items())
        low, rest = divmod(expected[key], sizes[key])
        assert per_row(found.train, key) == {n: k for n, k in ((low, sizes[key] - rest), (low + 1, rest)) if n and k}


def test_epochs_are_passes_over_the_whole_run(source: Any, prepared: Any) -> None:
    data = {"a": source("a", 10), "b": source("b", 20, epochs=6)}
    found = prepared(data=data, trainer=epochs(3))
    assert seen(found.train) == {"a": 10, "b": 40}
    assert per_row(found.train, "b") == {2: 20}


@pytest.mark.parametrize(
    ("temperature", "expected"), [(1.0, (1000, 100, 10)), (2.0, (1000, 316, 100)), (1e9, (1000, 1000, 1000))]
)
def test_temperature(source: Any, prepared: Any, temperature: float, expected: Sequence[int]) -> None:
    """n^(1/T), the largest once: at T=2 1000 : 1000 * sqrt(.1) : 1000 * sqrt(.01)."""
    data = {key: source(key, n) for key, n in (("a", 1000), ("b", 100), ("c", 10))}
    found = prepared(data=data, mixture=Mixture(temperature=temperature))
    assert tuple(seen(found.train).values()) == expected


def test_temperature_leaves_what_sources_say(source: Any, prepared: Any) -> None:
    data = {"a": source("a", 100), "b": source("b", 25), "c": source("c", 400, weight=0.5)}
    data["d"] = source("d", 8, proportion=0.2)
    found = prepared(data=data, mixture=Mixture(temperature=2))
    assert seen(found.train) == {"a": 100, "b": 50, "c": 200, "d": round(350 / 4)}


def test_the_cap_is_kept_and_said(source: Any, make_run: Any, context_of: Any) -> None:
    data = {"a": source("a", 90), "b": source("b", 2, proportion=0.25), "c": source("c", 5, weight=2)}
    run = make_run(data=data, mixture=Mixture(max_repeats=3))
    context = context_of(run)
    found = prepare(run, context)
    assert seen(found.train) == {"a": 90, "b": 6, "c": 10}
    (note,) = [n["text"] for n in context.notes if "max_repeats" in n["text"]]
    assert note.startswith("mixture.max_repeats=3: data.b gives 6 rows per epoch, not the 33 that show each of")
    assert "16.7 times" in note


def test_a_fraction_is_part_of_every_larger_one(source: Any, prepared: Any) -> None:
    data = {"a": source("a", 200), "b": source("b", 40, weight=2)}
    sets: dict[str, Any] = {"test": {"t": Share(fraction=0.1)}}

    def go(fraction: float, seed: int = 0) -> tuple[set[str], list[str], dict[str, int]]:
        found = prepared(data=data, seed=seed, mixture=Mixture(fraction=fraction), **sets)
        held = [row.id for row in found.held_out[0].rows]
        return {row.id for row in found.train}, held, seen(found.train)

    whole, held, counts = go(1.0)
    smaller: set[str] = set()
    for fraction in (0.1, 0.25, 0.5):
        rows, same, part = go(fraction)
        assert smaller < rows < whole
        assert same == held
        assert part == {"a": round(counts["a"] * fraction), "b": 2 * round(counts["b"] // 2 * fraction)}
        smaller = rows
    assert go(0.5, seed=1)[0] != smaller
    assert go(0.5)[0] == smaller


BROKEN: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"weight": 0.0}, {}, "data.b.weight=0.0: must be above 0; remove the source with '~data.b'"),
    ({"weight": -1.0}, {}, "data.b.weight=-1.0: must be above 0"),
    ({"weight": float("nan")}, {}, "data.b.weight=nan: must be above 0"),
    ({"weight": float("inf")}, {}, "data.b.weight=inf: must be above 0"),
    ({"epochs": 0.0}, {}, "data.b.epochs=0.0: must be above 0"),
    ({"proportion": -0.1}, {}, "data.b.proportion=-0.1: must be above 0"),
    ({"proportion": float("nan")}, {}, "data.b.proportion=nan: must be above 0"),
    ({"proportion": 1.5}, {}, "data.b.proportion=1.5: is a share of the training rows"),
    ({"proportion": 1.0}, {}, "data.b.proportion=1: nothing is left for the other sources"),
    ({"proportion": 0.1, "weight": 2.0}, {}, "data.b: weight=2 and proportion=0.1 contradict each other; keep one"),
    ({"proportion": 0.1, "epochs": 3.0}, {}, "data.b: epochs=3 and proportion=0.1 contradict"),
    (
        {"epochs": 2.0},
        {"trainer": epochs(3)},
        "data.b.epochs=2: cannot be shared out evenly over trainer.max_epochs=3;",
    ),
    ({"epochs": 2.0}, {"trainer": epochs(None, 5)}, "data.b.epochs=2: trainer.max_epochs=null leaves open"),
    ({}, {"mixture": Mixture(temperature=0.5)}, "mixture.temperature=0.5: must be 1"),
    ({}, {"mixture": Mixture(temperature=float("nan"))}, "mixture.temperature=nan: must be 1"),
    ({}, {"mixture": Mixture(max_repeats=0)}, "mixture.max_repeats=0: must be 1"),
    ({}, {"mixture": Mixture(fraction=0.0)}, "mixture.fraction=0.0: must be above 0"),
    ({}, {"mixture": Mixture(fraction=1.5)}, "mixture.fraction=1.5: must be above 0, and 1 at most"),
    (
        {},
        {"test": {"t": Json(path="t", epochs=1.0)}},
        "test.t.epochs=1: epochs belongs to training data, not to",
    ),
    ({}, {"validation": {"t": Json(path="t", weight=2.0)}}, "validation.t.weight=2: weight belongs to training data"),
]


@pytest.mark.parametrize(("settings", "more", "message"), BROKEN, ids=[message[:40] for _, _, message in BROKEN])
def test_contradictions_are_refused(
    make_run: Any, settings: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    run = make_run(**{"data": {"a": Json(path="a"), "b": Json(path="b", **settings)}} | more)
    (found,) = mixture_problems(run)
    assert found.startswith(message)
    with pytest.raises(ConfigError, match=re.escape(message)):
        weighted(run, [], RunContext(run, Path("unused")))


def test_proportions_of_all_sources_add_up_to_one(source: Any, make_run: Any) -> None:
    data = {"a": source("a", 3, proportion=0.5), "b": source("b", 3, proportion=0.2)}
    assert list(mixture_problems(make_run(data=data))) == [
        "data.a.proportion=0.5, data.b.proportion=0.2: add up to 0.7 and there is no other source;"
        " leave one out to let it take the rest"
    ]
    data["c"] = source("c", 3, proportion=0.3)
    assert not list(mixture_problems(make_run(data=data)))


def test_a_source_that_brings_nothing_is_refused(source: Any, prepared: Any, make_run: Any, tmp_path: Path) -> None:
    (tmp_path / "replay.json").write_text("[]")
    data = {"mine": source("a", 20), "replay": Json(path=str(tmp_path / "replay.json"), proportion=0.1)}
    with pytest.raises(DataRefused, match=r"data.replay has no rows; .* leave it out with '~data.replay'"):
        refuse(make_run(data=data), prepared(data=data))
    data["replay"] = Json(path=data["mine"].path)
    found = prepared(data=data, transform={"dedup": ExactDedup()})
    with pytest.raises(DataRefused, match=r"data.replay has 20 rows, and none is left to train on"):
        refuse(make_run(data=data), found)


def test_the_mixture_is_written(source: Any, prepared: Any, tmp_path: Path) -> None:
    found = prepared(data={"a": source("a", 8), "b": source("b", 4, proportion=0.2)})
    write(found, tmp_path / "run")
    written = json.loads((tmp_path / "run/data/audit.json").read_text())["mixture"]
    assert [(p["source"], p["asked"], p["rows"], p["used"], p["seen"], p["share"]) for p in written] == [
        ("data.a", "", 8, 8, 8, 0.8),
        ("data.b", "proportion=0.2", 4, 2, 2, 0.2),
    ]
