"""The run directory: free, locked, written whole, closed with the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tuneforge
from tuneforge import files, record
from tuneforge.errors import ConfigError, DataRefused, GateFailed, Preempted


def start(folder: Path) -> record.Record:
    return record.Record.start(tuneforge.compose(), folder, [], command="run")


def test_a_directory_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    run = tuneforge.compose([f"output_dir={tmp_path}"])
    assert record.new_folder(run) == tmp_path
    start(tmp_path)
    with pytest.raises(ConfigError, match="holds a run already"):
        record.new_folder(run)


@pytest.mark.parametrize(
    ("status", "left", "said"),
    [
        ("refused", "report.html", "holds a run that was refused; delete it, or name another"),
        ("failed", "report.html", "holds a run that failed before it trained; delete it, or name another"),
        ("failed", "checkpoints", "holds a run already; continue it with resume="),
    ],
)
def test_a_directory_of_a_run_that_came_to_nothing_is_not_to_be_continued(
    status: str, left: str, said: str, tmp_path: Path
) -> None:
    start(tmp_path).finish(status)
    (tmp_path / left).mkdir()
    with pytest.raises(ConfigError, match=said):
        record.new_folder(tuneforge.compose([f"output_dir={tmp_path}"]))


def test_an_output_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        record.new_folder(tuneforge.compose([f"output_dir={tmp_path}/x"]))


def test_two_runs_in_one_second_get_two_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tuneforge.compose(["name=a"])
    first, second = record.new_folder(run), record.new_folder(run)
    assert first != second
    record.link_latest(second)
    assert Path("outputs/latest").resolve() == second.resolve()


def test_a_directory_in_use_names_the_process(tmp_path: Path) -> None:
    code = (
        "from tuneforge import record; import pathlib, sys\n"
        f"with record.locked(pathlib.Path({str(tmp_path)!r})): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"process {other.pid}"), record.locked(tmp_path):
            pass
        other.kill()
    with record.locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DataRefused("x"), "refused"),
        (GateFailed("x"), "finished"),
        (Preempted("x", 15), "preempted"),
        (KeyboardInterrupt(), "preempted"),
        (ValueError("x"), "failed"),
    ],
)
def test_the_record_says_how_the_run_ended(tmp_path: Path, error: BaseException, status: str) -> None:
    book = start(tmp_path)
    with pytest.raises(type(error)), book.closing(), book.stage("data"):
        raise error
    content = record.read_record(tmp_path)
    assert content["status"] == status
    assert content["versions"]["torch"]
    assert content["peak_memory_bytes"] > 1e6


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="Circular"):
        files.write_json(tmp_path / "a.json", (loop := {}) | {"x": loop, "y": loop.setdefault("z", loop)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
