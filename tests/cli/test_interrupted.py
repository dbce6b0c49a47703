"""Runs that are stopped: exit codes, records, and the same weights after `resume=`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import SHORT

LONG = [
    *SHORT[1:],
    "trainer.max_epochs=null",
    "trainer.max_steps=40",
    "checkpoint.every=4",
    "trainer.log_every_n_steps=1",
    "batch.packing=on",  # auto holds packing against grouping by time, so a busy machine may choose otherwise
]


def start(place: Path, *words: str) -> subprocess.Popen[str]:
    """The real command in a process of its own."""
    command = [sys.executable, "-m", "tuneforge.cli", *words]
    return subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out + err


def weights(run: Path) -> str:
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


def status(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["status"])


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(4000):
        if condition():
            return
        if process.poll() is not None:
            pytest.fail(f"ended too early: {process.communicate()}")
        time.sleep(0.03)
    pytest.fail("nothing happened")


def logged(run: Path) -> int:
    """Lines in the training log."""
    path = run / "logs" / "metrics.csv"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of a run that nobody interrupts."""
    place = tmp_path_factory.mktemp("straight")
    code, said = finish(start(place, *LONG, "output_dir=run"))
    assert code == 0, said
    return weights(place / "run")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_run_goes_on_to_the_same_weights(
    number: signal.Signals, code: int, straight: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, *LONG, "output_dir=run")
    wait_for(lambda: logged(run) >= 7, process)
    process.send_signal(number)
    found, said = finish(process)
    assert found == code, said
    assert "resume=" in said
    assert "Traceback" not in said
    assert status(run) == "preempted"
    assert (run / "report.html").is_file()
    found, said = finish(start(tmp_path, "resume=run"))
    assert found == 0, said
    assert weights(run) == straight


@pytest.mark.parametrize("streaming", ["off", "on"])
def test_a_killed_run_goes_on_to_the_same_weights(streaming: str, straight: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, *LONG, "output_dir=run", f"streaming={streaming}")
    wait_for(lambda: logged(run) >= 14, process)
    process.kill()
    process.communicate()
    assert status(run) == "running"
    found, said = finish(start(tmp_path, "resume=run"))
    assert found == 0, said
    assert weights(run) == straight


def test_sigterm_before_training_is_recorded(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, *LONG, "output_dir=run")
    wait_for(lambda: (run / "run.json").exists(), process)
    process.send_signal(signal.SIGTERM)
    found, said = finish(process)
    assert found == 143, said
    assert status(run) == "preempted"


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, "output_dir=run")
    wait_for(lambda: logged(tmp_path / "run") >= 2, process)
    found, said = finish(start(tmp_path, "resume=run"))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert found == 2
    assert f"in use by process {process.pid}" in said


def test_a_grid_is_forked_tabled_and_survives_a_failing_point(tmp_path: Path) -> None:
    words = ["-m", *SHORT, "strategy=lora", "adapter.targets=[q_proj],[no_such_layer]", "seed=1,2"]
    code, said = finish(start(tmp_path, *words, "output_dir=grid"))
    assert code == 2, said
    rows = json.loads((tmp_path / "grid" / "comparison.json").read_text())["rows"]
    assert {row["point"]: row["exit_code"] for row in rows} == {0: 0, 1: 0, 2: 2, 3: 2}
    assert (
        "no_such_layer"
        in (tmp_path / "grid" / "2-adapter.targets=_no_such_layer_,seed=1" / "logs" / "output.txt").read_text()
    )
    assert "exit 2" in said
    assert "seed=2" in (tmp_path / "grid" / "comparison.csv").read_text()
    page = (tmp_path / "grid" / "comparison.html").read_text()
    assert "1 adapter.targets=[q_proj] seed=2 - 0 adapter.targets=[q_proj] seed=1" in page
    assert "2 adapter.targets=[no_such_layer] seed=1" in page
    assert (tmp_path / "grid" / "0-adapter.targets=_q_proj_,seed=1" / "report.html").is_file()


def test_an_interrupted_grid_leaves_no_process_behind(tmp_path: Path) -> None:
    process = start(tmp_path, "-m", *LONG, "seed=1,2", "output_dir=grid")
    wait_for(lambda: logged(tmp_path / "grid" / "0-seed=1") >= 3, process)
    process.send_signal(signal.SIGINT)
    code, said = finish(process)
    assert code == 130, said
    assert status(tmp_path / "grid" / "0-seed=1") == "preempted"
    assert not (tmp_path / "grid" / "1-seed=2" / "run.json").exists()
