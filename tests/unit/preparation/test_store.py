"""Rows kept on disk are the rows, in any order; what JSON would change and what the disk does not take is said."""

from __future__ import annotations

import datetime
import gc
import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tuneforge.data.json import Json
from tuneforge.data.share import Share
from tuneforge.errors import ConfigError
from tuneforge.preparation import store
from tuneforge.preparation.store import RowStore
from tuneforge.preparation.view import View
from tuneforge.rows import Row
from tuneforge.sections import Mixture, Streaming
from tuneforge.transform.exact_dedup import ExactDedup
from tuneforge.transform.length import Length

COLUMNS: list[dict[str, Any]] = [
    {"text": "plain"},
    {"text": "żółć \N{PILE OF POO} \U000e0041 \u2028 \x00 \ud800"},
    {"messages": [{"role": "user", "content": "a\nb", "weight": 0.1}], "tools": [{"x": {"y": [1, None, True]}}]},
    {"label": True, "margin": 1e-300},
    {"label": 2**70, "text": ""},
    {"tokens": ["a"] * 300, "tags": ["B"] * 300},
    {},
]


def rows(n: int = 700) -> list[Row]:
    return [
        Row(
            columns=COLUMNS[i % len(COLUMNS)] | {"text": f"{i} " * (i % 50)},
            source=f"data.{i % 3}",
            file=f"f{i % 5}",
            line=i if i % 2 else f"key {i}",
            id=f"{i:x}",
            history=("a", "b")[: i % 3],
            group="g" * (i % 2),
            task="summary" * (i % 2),
        )
        for i in range(n)
    ]


def test_a_row_read_back_is_the_row(tmp_path: Path) -> None:
    kept, given = RowStore(tmp_path), rows()
    for number, row in enumerate(given):
        kept.append(row)
        if number % 97 == 0:
            assert kept[number] == row
    assert list(kept) == given == list(View(kept, range(len(kept))))
    order = random.Random(0).sample(range(700), 700)
    assert [kept[i] for i in order] == [given[i] for i in order]
    assert (kept[-1], list(kept[690:])) == (given[-1], given[690:])
    assert list(store.sources(View(kept, order))) == [given[i].source for i in order]
    with pytest.raises(IndexError):
        kept[700]


@pytest.mark.parametrize(
    "columns", [{"text": datetime.date(2020, 1, 1)}, {"x": {1: "a"}}, {"x": ("a",)}, {"x": [b"b"]}, {"x": {"y": {3}}}]
)
def test_what_json_would_change_is_refused(tmp_path: Path, columns: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"f:7: a row kept on disk cannot hold .*streaming=off"):
        RowStore(tmp_path).append(Row(columns=columns, file="f", line=7))


def test_nothing_stays_on_disk(tmp_path: Path) -> None:
    kept = RowStore(tmp_path)
    kept.append(Row(columns={"text": "a"}))
    assert kept[0].columns == {"text": "a"}
    assert list(tmp_path.iterdir()) == []
    gc.collect()  # files of earlier tests
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    del kept
    gc.collect()
    assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) == before - 1


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"rows cannot be kept in .*file/rows: .*TUNEFORGE_CACHE names another place"):
        RowStore(tmp_path / "file" / "rows")


FULL = """
import resource, sys
from pathlib import Path
from tuneforge.errors import ConfigError
from tuneforge.preparation.store import RowStore
from tuneforge.rows import Row
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
kept = RowStore(Path(sys.argv[1]))
try:
    for i in range(1000):
        kept.append(Row(columns={"text": "x" * 1000}))
    list(kept)
except ConfigError as error:
    print(error)
"""


def test_a_full_disk(tmp_path: Path) -> None:
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"rows cannot be kept in {tmp_path}: File too large")


RIVAL = """
import hashlib, sys
from pathlib import Path
from tests.unit.preparation.test_store import rows
from tuneforge.preparation.store import RowStore
kept = RowStore(Path(sys.argv[1]))
for row in rows(3000):
    kept.append(row)
assert list(kept) == rows(3000)
print(hashlib.sha256("".join(map(repr, kept)).encode()).hexdigest())
"""


def test_eight_processes_do_not_disturb_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RIVAL, str(tmp_path)]
    rivals = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = {rival.communicate(timeout=120)[0] for rival in rivals}
    assert [rival.returncode for rival in rivals] == [0] * 8
    assert len(said) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_a_streamed_run_prepares_the_same_rows(jsonl: Any, prepared: Any, fraction: float) -> None:
    draw = random.Random(1)
    lines: list[dict[str, Any]] = [
        {"prompt": f"Q{draw.randrange(900)}", "completion": f"{draw.randrange(3)}"} for _ in range(1500)
    ]
    lines[7] = {"prompt": "", "completion": "x"}
    groups: dict[str, Any] = {
        "data": {"a": Json(path=jsonl("a.jsonl", lines)), "b": Json(path=jsonl("b.jsonl", lines[:90]), weight=2.5)},
        "validation": {"v": Share(fraction=0.1)},
        "test": {"t": Share(fraction=0.1)},
        "transform": {"length": Length(min_characters=4), "dedup": ExactDedup()},
        "mixture": Mixture(fraction=fraction),
    }
    one, other = (prepared(streaming=streaming, **groups) for streaming in (Streaming.off, Streaming.on))
    assert isinstance(one.train.rows, list)
    assert isinstance(other.train.rows, RowStore)
    assert one.train == other.train
    assert [list(held.rows) for held in one.held_out] == [list(held.rows) for held in other.held_out]
    assert (one.sources, one.mixture) == (other.sources, other.mixture)
    for a, b in zip(one.transforms, other.transforms, strict=True):
        assert (a.reasons, a.examples, a.excerpts, a.after) == (b.reasons, b.examples, b.excerpts, b.after)
    reasons = [[d.reason for d in found.dropped["dedup"]] for found in (one, other)]
    assert reasons[0] == reasons[1]
    assert not any(d.row.columns for d in other.dropped["dedup"][5:])


def test_auto_looks_at_the_files(jsonl: Any, make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(data={"a": Json(path=jsonl("a.jsonl", [{"text": json.dumps("a")}])), "b": Json(path="absent")})
    assert not store.streams(run)
    big = tmp_path / "big.jsonl"
    with big.open("wb") as file:
        file.truncate(2**40)
    run.data["c"] = Json(path=str(big))
    assert store.streams(run)
    run.streaming = Streaming.off
    assert not store.streams(run)
