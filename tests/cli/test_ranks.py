"""Whole commands with two processes: results, signals, deaths, torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import SHORT
from tests.cli.test_interrupted import finish, logged, start, status, wait_for
from tuneforge import cli

TWO = [
    *SHORT[1:],
    "batch.size=2",
    "trainer.accelerator=cpu",
    "trainer.devices=2",
    "trainer.max_epochs=null",
    "trainer.log_every_n_steps=1",
    "early_stopping.patience=null",
]


def others(process: subprocess.Popen[str]) -> list[int]:
    """The processes that a command has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children]


def gone(pids: list[int]) -> bool:
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run over shares of the model that SIGTERM stopped."""
    place = tmp_path_factory.mktemp("stopped")
    process = start(place, *TWO, "trainer=fsdp", "trainer.max_steps=60", "checkpoint.every=50", "output_dir=run")
    wait_for(lambda: logged(place / "run") >= 4, process)
    pids = others(process)
    process.send_signal(signal.SIGTERM)
    code, said = finish(process)
    assert code == 143, said
    assert gone(pids)
    return place / "run", said


def test_sigterm_stops_all_and_leaves_a_checkpoint(stopped: tuple[Path, str]) -> None:
    run, said = stopped
    assert status(run) == "preempted"
    assert "a checkpoint was written" in said
    assert "Traceback" not in said
    assert "2 processes; the others write to" in said
    step = next((run / "checkpoints").glob("step-*"))
    assert {p.name for p in step.iterdir()} >= {"tensors.safetensors", "tensors-00001.safetensors"}


def test_one_device_goes_on_and_the_model_is_whole(stopped: tuple[Path, str]) -> None:
    """Resumed at once to its end: the shares become a folder that transformers loads."""
    from transformers import AutoModelForCausalLM

    run = stopped[0]
    step = int(next((run / "checkpoints").glob("step-*")).name.removeprefix("step-"))
    code, said = finish(start(run.parent, "resume=run", "trainer.devices=1", f"trainer.max_steps={step + 2}"))
    assert code == 0, said
    assert "1 device(s) instead of 2: batch.global_size=4 as before, batch.size=2" in said
    assert "random choices such as dropout are others" in said
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["training"]["steps"], record["devices"]) == ("finished", step + 2, 1)
    assert AutoModelForCausalLM.from_pretrained(run / "model").num_parameters() > 1e6


def test_a_dead_process_ends_all_with_its_name(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, *TWO, "trainer=ddp", "trainer.max_steps=400", "output_dir=run")
    wait_for(lambda: logged(run) >= 3, process)
    (pid,) = others(process)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    code, said = finish(process)
    assert code == 1, said
    assert time.monotonic() - began < 30
    assert "rank 1 of 2 was ended by SIGKILL; all were stopped. The end of run/logs/rank-1.txt" in said
    assert "Traceback" not in said
    assert status(run) == "failed"
    assert gone([pid])


def test_when_the_first_is_killed_none_is_left(tmp_path: Path) -> None:
    process = start(tmp_path, *TWO, "trainer=ddp", "trainer.max_steps=400", "output_dir=run")
    wait_for(lambda: len(others(process)) == 1, process)
    pids = others(process)
    process.kill()
    process.communicate()
    assert gone(pids)


def test_a_process_that_cannot_begin_is_shown(tmp_path: Path) -> None:
    """Rank 1 finds other data than rank 0 did: the file is gone by then."""
    rows = [json.dumps({"prompt": f"{i} plus {i} is", "completion": f" {2 * i}."}) for i in range(60)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    words = ["model=tiny", "data=train.jsonl", *TWO[6:], "trainer=ddp", "trainer.max_steps=4", "output_dir=run"]
    process = start(tmp_path, *words)
    wait_for(lambda: (tmp_path / "run" / "data" / "preview.jsonl").exists(), process)
    (tmp_path / "train.jsonl").unlink()
    code, said = finish(process)
    assert code == 1, said
    assert "rank 1 of 2 ended with exit code 2" in said
    assert "train.jsonl" in said.split("rank-1.txt:")[1]
    assert status(tmp_path / "run") == "failed"


def torchrun(place: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0",
               "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "tuneforge.cli", *words]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout + done.stderr


def test_torchrun_starts_the_processes(tmp_path: Path) -> None:
    words = [w for w in TWO if not w.startswith("trainer.devices")]
    code, said = torchrun(tmp_path, *words, "trainer=ddp", "trainer.max_steps=3", "output_dir=run")
    assert code == 0, said
    assert status(tmp_path / "run") == "finished"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["devices"] == 2
    assert said.count("Verdict") == 1
    assert "Train" in (tmp_path / "run" / "logs" / "rank-1.txt").read_text()


def test_torchrun_without_a_directory_is_refused(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["check", "trainer=ddp"]) == 0
    assert list(workplace.iterdir()) == []
    assert cli.main(["-m", "trainer=ddp", "seed=1,2"]) == 2
    assert "run it without torchrun or srun" in capsys.readouterr().err
    assert cli.main(["trainer=ddp"]) == 2
    assert "output_dir: 2 processes were started, and all must find the run" in capsys.readouterr().err
