"""The way of rows from sources to training and evaluation sets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tuneforge.audit.leaks import leaks
from tuneforge.components import Columns, Context, Generator, Role, Transform
from tuneforge.data.json import Json
from tuneforge.data.share import Share
from tuneforge.errors import ConfigError, DataRefused, PluginError
from tuneforge.preparation.prepare import prepare, refuse, write
from tuneforge.rows import Kept, Rejected, Row, content_hash
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.sft import Sft
from tuneforge.transform.exact_dedup import ExactDedup
from tuneforge.transform.length import Length


def qa(*numbers: int, answer: str = "A") -> list[dict[str, Any]]:
    return [{"prompt": f"Q{number}", "completion": f"{answer}{number}"} for number in numbers]


def asked(rows: Iterable[Row]) -> list[str]:
    return [row.columns["prompt"] for row in rows]


def test_rows_know_where_they_come_from(jsonl: Any, prepared: Any) -> None:
    path = jsonl("train.jsonl", [*qa(1), {"prompt": "Q2", "completion": ""}, *qa(3)])
    found = prepared(data={"main": Json(path=path)})
    assert list(found.train) == [
        Row(columns=columns, source="data.main", file=path, line=line, id=content_hash(columns))
        for line, columns in ((1, qa(1)[0]), (3, qa(3)[0]))
    ]
    assert [(r.row.source, r.row.line, r.reason) for r in found.rejected] == [
        ("data.main", 2, "empty answer: 'completion'")
    ]
    report = found.sources[0]
    assert (report.key, report.split, report.file, report.role) == ("main", "train", path, "")
    assert report.format == "json, prompt_completion columns detected"
    assert (report.read, report.kept, report.used, report.reasons) == (3, 2, 2, {"empty answer": 1})


def test_id_and_group_columns(jsonl: Any, prepared: Any) -> None:
    path = jsonl("train.jsonl", [row | {"key": f"k{n}", "db": n % 2} for n, row in enumerate(qa(1, 2, 3))])
    found = prepared(data={"main": Json(path=path, columns=Columns(id="key", group="db"))})
    assert [(row.line, row.group) for row in found.train] == [("k0", "0"), ("k1", "1"), ("k2", "0")]
    assert not found.sources[0].extra


def test_limit(jsonl: Any, prepared: Any) -> None:
    path = jsonl("train.jsonl", qa(*range(10)))
    assert len(prepared(data={"main": Json(path=path, limit=3)}).train) == 3
    with pytest.raises(ConfigError, match=r"data.main.limit=0 must be at least 1"):
        prepared(data={"main": Json(path=path, limit=0)})


@pytest.mark.parametrize(("weight", "times"), [(0.1, 4), (1.0, 40), (2.0, 80), (1.5, 60), (0.001, 1)])
def test_weights(jsonl: Any, prepared: Any, weight: float, times: int) -> None:
    main, replay = jsonl("main.jsonl", qa(*range(5))), jsonl("replay.jsonl", qa(*range(100, 140)))
    data = {"main": Json(path=main), "replay": Json(path=replay, weight=weight)}
    found = prepared(data=data)
    used = [row for row in found.train if row.source == "data.replay"]
    assert len(used) == times
    assert [report.used for report in found.sources] == [5, times]
    assert len(set(asked(used))) == min(times, 40)
    assert list(prepared(data=data).train) == list(found.train)
    if weight == 0.1:
        assert asked(prepared(data=data, seed=1).train) != asked(found.train)


def test_weight_must_be_positive(jsonl: Any, prepared: Any) -> None:
    with pytest.raises(ConfigError, match=r"data.main.weight=0: must be above 0"):
        prepared(data={"main": Json(path=jsonl("a.jsonl", qa(1)), weight=0)})


def test_shares_are_disjoint_stable_and_counted(jsonl: Any, prepared: Any) -> None:
    path = jsonl("train.jsonl", qa(*range(1000)))
    more = jsonl("more.jsonl", qa(*range(500, 2000)))
    groups: dict[str, Any] = {"validation": {"v": Share(fraction=0.1)}, "test": {"t": Share(role=Role.general)}}
    found = prepared(data={"main": Json(path=path)}, **groups)
    validation, test = found.held_out
    assert (validation.name, validation.split, test.name, test.split, test.role) == (
        "v",
        "validation",
        "t",
        "test",
        "general",
    )
    parts = [set(asked(part)) for part in (found.train, validation.rows, test.rows)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 1000
    assert 70 < len(parts[1]) < 130
    assert 30 < len(parts[2]) < 70
    assert [(r.key, r.used) for r in found.sources] == [
        ("main", len(parts[0])),
        ("v", len(parts[1])),
        ("t", len(parts[2])),
    ]

    grown = prepared(data={"more": Json(path=more)}, **groups)
    common = {f"Q{number}" for number in range(500, 1000)}
    assert set(asked(grown.held_out[1].rows)) & common == parts[2] & common
    alone = prepared(data={"main": Json(path=path)}, test=groups["test"])
    assert set(asked(alone.held_out[0].rows)) == parts[2]
    assert not leaks(found.train, found.held_out).found


def test_shares_keep_prompts_and_groups_together(jsonl: Any, prepared: Any) -> None:
    rows = [{"prompt": f" q {n % 50}?" if n % 3 else f"Q{n % 50}", "completion": f"{n}"} for n in range(500)]
    found = prepared(data={"main": Json(path=jsonl("a.jsonl", rows))}, test={"t": Share(fraction=0.2)})
    fold = [
        {prompt.strip(" ?").lower().replace(" ", "") for prompt in asked(part)}
        for part in (found.train, found.held_out[0].rows)
    ]
    assert not fold[0] & fold[1]
    rows = [row | {"group": f"g{n % 20}"} for n, row in enumerate(qa(*range(500)))]
    found = prepared(data={"main": Json(path=jsonl("b.jsonl", rows))}, test={"t": Share(fraction=0.2)})
    groups = [{row.group for row in part} for part in (found.train, found.held_out[0].rows)]
    assert groups[0]
    assert groups[1]
    assert not groups[0] & groups[1]


def test_a_share_of_few_prompts_is_not_empty(jsonl: Any, make_run: Any, context_of: Any) -> None:
    run = make_run(data={"main": Json(path=jsonl("a.jsonl", qa(1, 2, 3)))}, test={"t": Share(fraction=0.001)})
    context = context_of(run)
    found = prepare(run, context)
    assert len(found.train) == 2
    assert len(found.held_out[0].rows) == 1
    assert "only 3 different prompts" in context.notes[0]["text"]


def test_shares_may_not_take_everything(jsonl: Any, prepared: Any) -> None:
    share = {"a": Share(fraction=0.5)}
    with pytest.raises(ConfigError, match="leave 0% of the data"):
        prepared(data={"main": Json(path=jsonl("a.jsonl", qa(1)))}, validation=share, test=share)


@dataclass(kw_only=True)
class Counting(Generator):
    """Rows of its own, one of them broken."""

    name: ClassVar[str] = "counting"

    def generate(self, seeds: Iterable[Row], context: Context) -> Kept:
        seen = len(list(seeds))
        for number in range(self.count):
            yield Row(columns={"prompt": f"G{number}", "completion": str(seen)})
        yield Rejected(Row(columns={}), "no idea: none left")


def test_generated_rows_join_training_and_are_never_held_out(jsonl: Any, prepared: Any) -> None:
    data = {"main": Json(path=jsonl("a.jsonl", qa(*range(100))))}
    found = prepared(data=data, synthetic={"more": Counting(count=50)}, test={"t": Share(fraction=0.5)})
    made = [row for row in found.train if row.source == "synthetic.more"]
    assert [row.line for row in made] == list(range(1, 51))
    assert made[0].columns["completion"] == "100"
    assert all(row.id for row in made)
    report = next(report for report in found.sources if report.key == "synthetic.more")
    assert (report.read, report.kept, report.used, report.reasons) == (51, 50, 50, {"no idea": 1})
    assert report.format == "counting, prompt_completion columns detected"
    assert not any(row.source == "synthetic.more" for row in found.held_out[0].rows)
    assert len(prepared(synthetic={"more": Counting(count=5)}).train) == 5


@dataclass(kw_only=True)
class Shout(Transform):
    """Upper case, in evaluation sets too; every second row is copied."""

    name: ClassVar[str] = "shout"
    held_out: ClassVar[bool] = True

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        for number, row in enumerate(rows):
            changed = {name: value.upper() for name, value in row.columns.items()}
            yield row if changed == row.columns else replace(row, columns=changed)
            if number % 2:
                yield replace(row, columns=row.columns | {"completion": "copy"})


@dataclass(kw_only=True)
class Losing(Transform):
    """Loses every third row."""

    name: ClassVar[str] = "losing"

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        yield from (row for number, row in enumerate(rows) if number % 3)


def test_transforms_report_and_leave_history(jsonl: Any, prepared: Any) -> None:
    train = jsonl("train.jsonl", [*qa(1, 2, answer="a"), {"prompt": "Q3", "completion": "A"}])
    test = jsonl("test.jsonl", qa(9, answer="a"))
    found = prepared(
        data={"d": Json(path=train)}, test={"t": Json(path=test)}, transform={"loud": Shout(), "dedup": ExactDedup()}
    )
    assert [(row.columns["completion"], row.history) for row in found.train] == [
        ("A1", ("loud",)),
        ("A2", ("loud",)),
        ("copy", ("loud",)),
        ("A", ()),
    ]
    assert found.train[0].id == content_hash(found.train[0].columns)
    assert found.held_out[0].rows[0].columns["completion"] == "A9"
    first, second, third = found.transforms
    assert (first.name, first.set, first.before, first.after, first.changed, first.added) == (
        "loud",
        "train",
        3,
        4,
        2,
        1,
    )
    assert (second.name, second.set, second.before, second.after) == ("loud", "test.t", 1, 1)
    assert (third.name, third.set, third.before, third.after, third.changed) == ("dedup", "train", 4, 4, 0)


def test_a_transform_that_loses_rows_is_named(jsonl: Any, prepared: Any) -> None:
    data = {"d": Json(path=jsonl("train.jsonl", qa(*range(9))))}
    with pytest.raises(
        PluginError, match=r"transform.bad \(.*test_prepare.Losing\) lost 3 rows silently, the first is .*:1\."
    ):
        prepared(data=data, transform={"bad": Losing()})


def test_too_many_unusable_rows_are_refused(jsonl: Any, prepared: Any, make_run: Any) -> None:
    path = jsonl("train.jsonl", qa(*range(94)) + [{"prompt": "Q", "completion": None}] * 6)
    run = make_run(data={"d": Json(path=path)})
    message = r"data.d: 6 of 100 rows are unusable \(6.0%, max_quarantined=0.05\): 6 wrong type\n +.*:95: wrong type"
    with pytest.raises(DataRefused, match=message):
        refuse(run, prepared(data=run.data))
    run.max_quarantined = 0.06
    refuse(run, prepared(data=run.data))


def test_rows_that_transforms_drop_are_not_unusable_but_must_not_be_all(
    jsonl: Any, prepared: Any, make_run: Any
) -> None:
    path = jsonl("train.jsonl", qa(1) * 10)
    run = make_run(data={"d": Json(path=path)}, transform={"dedup": ExactDedup()})
    found = prepared(data=run.data, transform=run.transform)
    assert len(found.train) == 1
    assert len(found.dropped["dedup"]) == 9
    refuse(run, found)
    with pytest.raises(DataRefused, match="no training rows are left"):
        refuse(run, prepared(data=run.data, transform={"length": Length(min_characters=99)}))


def test_an_evaluation_set_without_rows_is_refused(jsonl: Any, prepared: Any, make_run: Any) -> None:
    run = make_run(data={"d": Json(path=jsonl("a.jsonl", qa(1)))}, test={"t": Share()})
    with pytest.raises(DataRefused, match=r"test.t has no rows; for a share raise test.t.fraction"):
        refuse(run, prepared(data=run.data, test=run.test))


def test_rows_that_the_strategy_cannot_use(jsonl: Any, prepared: Any) -> None:
    mixed = jsonl("mixed.jsonl", [*qa(1), {"text": "only text"}])
    found = prepared(data={"d": Json(path=mixed)})
    assert [r.reason for r in found.rejected] == ["missing field: 'prompt'"]
    with pytest.raises(ConfigError, match=r"data.d: strategy 'dpo' trains on preference rows.*has prompt, completion"):
        prepared(Dpo(), data={"d": Json(path=jsonl("qa.jsonl", qa(1, 2)))})
    with pytest.raises(ConfigError, match=r"strategy 'sft'.*prompt \(no answer\) columns detected"):
        prepared(Sft(), data={"d": Json(path=jsonl("asks.jsonl", [{"prompt": "Q"}]))})
    held = prepared(data={"d": Json(path=mixed)}, test={"asks": Json(path=jsonl("asks.jsonl", [{"prompt": "Q"}]))})
    assert held.held_out[0].rows[0].columns == {"prompt": "Q"}


def test_no_readable_row(tmp_path: Path, prepared: Any, make_run: Any) -> None:
    (tmp_path / "a.jsonl").write_text("{\nnope\n")
    run = make_run(data={"d": Json(path=str(tmp_path / "a.jsonl"))})
    with pytest.raises(ConfigError, match="not valid JSON"):
        prepared(data=run.data)
    (tmp_path / "a.jsonl").write_text("nope\nnope\n")
    found = prepared(data=run.data)
    assert found.sources[0].format == "json, no readable row"
    with pytest.raises(DataRefused, match=r"no training rows are left\n  data.d: 2 of 2 rows are unusable"):
        refuse(run, found)


def test_a_cut_off_file_is_said_aloud(tmp_path: Path, make_run: Any, context_of: Any) -> None:
    path = tmp_path / "a.jsonl.gz"
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in qa(*range(10_000))).encode())
    path.write_bytes(packed[:-5000])
    run = make_run(data={"d": Json(path=str(path))})
    context = context_of(run)
    found = prepare(run, context)
    assert f"is cut off after {len(found.train):,} rows" in context.notes[-1]["text"]
    assert found.sources[0].reasons == {"broken gzip": 1}
    refuse(run, found)


def test_what_is_written(jsonl: Any, prepared: Any, tmp_path: Path) -> None:
    path = jsonl("train.jsonl", [*qa(1), {"prompt": "Q\ud800", "completion": "A"}, *qa(1)])
    found = prepared(data={"d": Json(path=path)}, transform={"dedup": ExactDedup()}, test={"t": Json(path=path)})
    write(found, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/data/quarantine.jsonl").read_text().splitlines()]
    bad = {"file": path, "line": 2, "reason": "lone surrogate: U+D800 in 'prompt'", "by": "reading"}
    assert lines == [
        {"set": "data.d", **bad},
        {"set": "test.t", **bad},
        {"set": "data.d", "file": path, "line": 3, "reason": f"duplicate: of {path}:1", "by": "transform.dedup"},
    ]
    audit = json.loads((tmp_path / "run/data/audit.json").read_text())
    assert audit["rows"] == {"train": 1, "test.t": 2}
    assert audit["sources"][0]["reasons"] == {"lone surrogate": 1}
    assert audit["transforms"][0]["examples"] == [f"{path}:3: duplicate: of {path}:1"]
    assert sorted(file.name for file in (tmp_path / "run/data").iterdir()) == ["audit.json", "quarantine.jsonl"]
