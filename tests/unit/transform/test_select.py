"""Selection by condition, budget and method."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tuneforge.adapter.full import Full
from tuneforge.context import RunContext
from tuneforge.data.json import Json
from tuneforge.data.share import Share
from tuneforge.errors import ConfigError
from tuneforge.model.hf import Hf
from tuneforge.optimizer.adamw import AdamW
from tuneforge.preparation.transforming import transform
from tuneforge.rows import Rejected, Row
from tuneforge.scheduler.constant import Constant
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft
from tuneforge.transform.select import By, Method, Select
from tuneforge.transform.task_type import TaskType

TOPICS = ("sail harbour anchor mast", "flour oven dough sugar", "guitar chord tune drum", "goal striker penalty pitch")


def context_of(folder: Path, **groups: Any) -> RunContext:
    run = Run(model=Hf(path="x"), strategy=Sft(), adapter=Full(), optimizer=AdamW(), scheduler=Constant(), **groups)
    return RunContext(run, folder)


def row(line: int, **columns: Any) -> Row:
    return Row(columns=columns, file="a", line=line)


def topics(sizes: Iterable[int]) -> list[Row]:
    """Texts of each topic: its words in other orders, with the number of the row."""
    found: list[Row] = []
    for topic, size in enumerate(sizes):
        words = TOPICS[topic].split()
        for number in range(size):
            turned = words[number % 4 :] + words[: number % 4]
            found.append(row(len(found) + 1, text=f"{' '.join(turned)} n{number}", label=f"topic {topic}"))
    return found


def kept(component: Select, rows: list[Row], context: RunContext) -> list[Row]:
    done = transform("select", component, rows, "train", context)
    assert [r.line for r in done.rows] == sorted(int(r.line) for r in done.rows)
    assert len(done.rows) + len(done.dropped) == len(rows)
    assert done.report.changed == 0
    return done.rows


def test_a_condition_streams_and_says_what_it_drops() -> None:
    given = [row(n, prompt="x", completion="y " * n) for n in range(4)]
    stream = Select(where="words(answer) >= 2").apply(iter(given), None)  # type: ignore[arg-type]
    assert list(stream) == [
        Rejected(given[0], "not selected: where=words(answer) >= 2 does not hold"),
        Rejected(given[1], "not selected: where=words(answer) >= 2 does not hold"),
        *given[2:],
    ]


@pytest.mark.parametrize(("budget", "count"), [(3, 3), (0.5, 5), (99, 10), (0.01, 1)])
@pytest.mark.parametrize("method", [Method.first, Method.random, Method.k_center, Method.facility_location])
def test_budgets(method: Method, budget: float, count: int, tmp_path: Path) -> None:
    rows = topics([4, 3, 3])
    found = kept(Select(budget=budget, method=method), rows, context_of(tmp_path))
    assert len(found) == count
    assert method is not Method.first or found == rows[:count]
    again = kept(Select(budget=budget, method=method), rows, context_of(tmp_path))
    assert again == found


def test_the_seed_draws(tmp_path: Path) -> None:
    rows = topics([40])
    drawn = [kept(Select(budget=5, method=Method.random), rows, context_of(tmp_path, seed=s)) for s in (0, 1)]
    assert drawn[0] != drawn[1]


def test_condition_before_budget(tmp_path: Path) -> None:
    component = Select(where="label == 'topic 1'", budget=2)
    done = transform("select", component, topics([3, 3]), "train", context_of(tmp_path))
    assert [r.line for r in done.rows] == [4, 5]
    assert done.report.reasons == {"not selected": 4}
    assert done.dropped[-1].reason == "not selected: method=first keeps 2 of 3"


@pytest.mark.parametrize("method", [Method.k_center, Method.facility_location])
def test_rare_topics_are_kept(method: Method, tmp_path: Path) -> None:
    rows = topics([60, 3, 3, 2])
    found = kept(Select(budget=4, method=method), rows, context_of(tmp_path))
    assert {r.columns["label"] for r in found} == {f"topic {n}" for n in range(4)}
    first = kept(Select(budget=4), rows, context_of(tmp_path))
    assert {r.columns["label"] for r in first} == {"topic 0"}


def test_balance_by_label(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    found = kept(Select(budget=20, method=Method.balance, by=By.label), topics([100, 3, 30]), context)
    assert Counter(r.columns["label"] for r in found) == {"topic 0": 9, "topic 1": 3, "topic 2": 8}
    assert context.counts == {"label topic 0": 9, "label topic 1": 3, "label topic 2": 8}
    with pytest.raises(ConfigError, match=r"transform\.select\.by=label: no row has a label"):
        kept(Select(budget=1, method=Method.balance, by=By.label), [row(1, text="a"), row(2, text="b")], context)


def test_balance_by_task(tmp_path: Path) -> None:
    asks = ["Translate to French: cat"] * 30 + ["Why is it dark?"] * 5
    rows = [row(n, prompt=f"{ask} {n}?", completion="x") for n, ask in enumerate(asks)]
    context = context_of(tmp_path)
    labelled = transform("task_type", TaskType(), rows, "train", context).rows
    found = kept(Select(budget=10, method=Method.balance, by=By.task), labelled, context)
    assert Counter(r.task for r in found) == {"translation": 5, "open_qa": 5}


def validation(folder: Path, rows: list[Row]) -> dict[str, Any]:
    path = folder / "target.jsonl"
    path.write_text("".join(json.dumps(dict(r.columns)) + "\n" for r in rows), encoding="utf-8")
    return {"validation": {"target": Json(path=str(path))}}


def test_coverage_follows_the_validation_file(tmp_path: Path) -> None:
    context = context_of(tmp_path, **validation(tmp_path, topics([0, 30, 10])))
    found = kept(Select(budget=20, method=Method.coverage), topics([200, 40, 40, 40]), context)
    assert Counter(r.columns["label"] for r in found) == {"topic 1": 15, "topic 2": 5}
    assert not context.notes


def test_coverage_says_what_is_missing_and_fills_up(tmp_path: Path) -> None:
    context = context_of(tmp_path, **validation(tmp_path, topics([0, 20, 20])))
    found = kept(Select(budget=20, method=Method.coverage), topics([50, 30, 4]), context)
    labels = Counter(r.columns["label"] for r in found)
    assert labels["topic 2"] == 4
    assert sum(labels.values()) == 20
    assert any("rows are missing that '" in str(note["text"]) for note in context.notes)


def test_coverage_never_reads_a_test_set(tmp_path: Path) -> None:
    groups = validation(tmp_path, topics([0, 10]))
    context = context_of(tmp_path, **groups, test={"held": Json(path=str(tmp_path / "absent.jsonl"))})
    assert kept(Select(budget=2, method=Method.coverage), topics([5, 5]), context)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "set where (a condition), budget (how many rows), or both"),
        ({"budget": 0}, "budget=0 is a number of rows, or a share between 0 and 1"),
        ({"budget": -2}, "budget=-2 is a number of rows"),
        ({"budget": 2.5}, "budget=2.5 is a number of rows"),
        ({"where": "wrds(prompt) > 1"}, "where=wrds(prompt) > 1: no function 'wrds'"),
        ({"where": "True", "method": Method.random}, "method=random needs a budget"),
        ({"budget": 2, "method": Method.balance}, "method=balance needs by (label, task, group, source)"),
        ({"budget": 2, "by": By.label}, "by=label belongs to method=balance, not to method=first"),
        ({"budget": 2, "method": Method.balance, "by": By.task}, "by=task needs transform=task_type before it"),
        ({"budget": 2, "features": "./e5"}, "features=./e5 belongs to method=k_center, facility_location, coverage"),
        ({"budget": 2, "method": Method.coverage}, "method=coverage needs a validation file of role target"),
    ],
)
def test_check(fields: dict[str, Any], reason: str, tmp_path: Path) -> None:
    component = Select(**fields)
    run = context_of(
        tmp_path, validation={"share": Share()}, transform={"select": component, "task_type": TaskType()}
    ).run
    assert reason in " ".join(component.check(run))


def test_check_of_what_is_right(tmp_path: Path) -> None:
    balanced = Select(budget=5, method=Method.balance, by=By.task)
    groups = {**validation(tmp_path, topics([2])), "transform": {"task_type": TaskType(), "select": balanced}}
    run = context_of(tmp_path, **groups).run
    assert not list(balanced.check(run))
    assert not list(Select(budget=0.1, method=Method.coverage, where="words(text) > 2").check(run))
