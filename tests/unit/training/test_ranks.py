"""Two processes over gloo train as one does with the same rows per step, and refuse to train different things."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.unit.training import pair, small
from tuneforge.errors import ConfigError
from tuneforge.training.checkpoint import Checkpoints
from tuneforge.training.devices import world
from tuneforge.training.devices.place import place
from tuneforge.training.optimise import device_choice, device_count, planned_steps


def start(folder: Path, rank: int, script: str) -> subprocess.Popen[bytes]:
    words = {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2",
             "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}  # fmt: skip
    command = [sys.executable, "-W", "error", script, str(folder)]
    with (folder / f"printed-{rank}.txt").open("wb") as out:
        return subprocess.Popen(command, env={**os.environ, **words}, stdout=out, stderr=subprocess.STDOUT)


def run_both(folder: Path, script: str) -> None:
    """Run the script in two processes; when one fails the other, which waits for it, is ended too."""
    processes, until = [start(folder, rank, script) for rank in (0, 1)], time.monotonic() + 240
    try:
        while any(p.poll() is None for p in processes) and not any(p.poll() for p in processes):
            assert time.monotonic() < until, "they do not end"
            time.sleep(0.05)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    printed = [(folder / f"printed-{rank}.txt").read_text()[-4000:] for rank in (0, 1)]
    assert [p.returncode for p in processes] == [0, 0], printed


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes have trained every case."""
    folder = tmp_path_factory.mktemp("both")
    run_both(folder, pair.__file__)
    return folder


def said(folder: Path, rank: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"said-{rank}.json").read_text())
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same cases in this one process."""
    folder = tmp_path_factory.mktemp("alone")
    return {
        kind: pair.train(f"{kind} auto", folder / kind, 1)
        for kind in ("sft", "sft_lora", "sft_averaged", "dpo", "dpo_lora", "kto")
    }


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("sft ddp", 1e-6), ("sft_lora ddp", 1e-6), ("dpo_lora ddp", 1e-6),
        ("sft fsdp", 1e-5), ("sft_lora fsdp", 1e-5), ("dpo fsdp", 1e-5), ("kto fsdp", 1e-5),
        ("sft fsdp resumed", 1e-5), ("sft ddp resumed", 1e-5),
        ("sft_averaged ddp", 1e-6), ("sft_averaged fsdp", 1e-5), ("sft_averaged fsdp resumed", 1e-5),
    ],
)  # fmt: skip
def test_two_processes_end_where_one_does(name: str, close: float, both: Path, alone: dict[str, Any]) -> None:
    """Clipping, a short last window, validation, averages, and (for dpo) shared-out references included."""
    one, two = alone[name.split(" ")[0]], said(both)[name]
    weights, mine = load_file(both / f"{name}.safetensors"), one.model.state_dict()
    assert weights.keys() == mine.keys()
    before = small.llama().state_dict()
    moved = max(float((mine[n] - before[n]).abs().max()) for n in mine if n in before) if "lora" not in name else 1.0
    assert moved > 1e-3
    assert max(float((weights[n] - mine[n]).abs().max()) for n in mine) < close
    assert two["steps"] == one.steps == pair.STEPS
    for theirs, ours in zip(two["history"], one.history, strict=True):
        for key in ("loss", "grad_norm", "validation_loss"):
            assert theirs.get(key) == pytest.approx(ours.get(key), abs=1e-5), (key, ours["step"])


def test_a_signal_to_one_process_stops_all_at_the_same_step(both: Path) -> None:
    for rank in (0, 1):
        assert "stopped by SIGTERM after step 5 of 12" in said(both, rank)["sft fsdp stopped"]


def test_shares_resume_bit_for_bit_with_as_many_processes(both: Path) -> None:
    assert said(both)["sft fsdp resumed"]["from"] == 5
    straight, resumed = (load_file(both / f"sft fsdp{more}.safetensors") for more in ("", " resumed"))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_each_process_writes_its_own_rows_and_one_process_reads_them_all(both: Path, tmp_path: Path) -> None:
    store = Checkpoints(both / "sft fsdp" / "checkpoints", 2, print)
    folder = store.path(store.steps()[-1])
    sizes = [load_file(folder / name).values() for name in ("tensors.safetensors", "tensors-00001.safetensors")]
    assert all(sum(t.numel() for t in those) > 1000 for those in sizes)
    found = store.read(pair.STEPS)["weights"]
    whole = load_file(both / "sft fsdp.safetensors")
    assert all(torch.equal(found[name].rows(0, found[name].shape[0]), whole[name]) for name in found)


def test_one_process_goes_on_where_two_stopped(both: Path, alone: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    left = both / "sft fsdp stopped"
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(left), str(copy)], check=True)
    for later in (copy / "checkpoints").glob("step-*12"):
        subprocess.run(["rm", "-r", str(later)], check=True)
    fitted = pair.train("sft auto", copy, 1, resume=str(copy))
    assert "made by 2 process(es), here are 1" in capsys.readouterr().out
    assert fitted.resumed_from < pair.STEPS
    mine, theirs = fitted.model.state_dict(), alone["sft"].model.state_dict()
    assert max(float((mine[n] - theirs[n]).abs().max()) for n in mine) < 1e-5


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_that_would_train_other_things_are_named(rank: int, both: Path) -> None:
    assert "rank 1: other training rows (45, " in said(both, rank)["sft ddp other_rows"]
    assert "rank 1: other model weights" in said(both, rank)["sft ddp other_model"]


# ---------------------------------------------------------------- who trains


def test_devices_are_counted_over_machines() -> None:
    run = small.settings(trainer__devices="2", trainer__num_nodes=3, batch__size=4)
    assert device_count(run) == 6
    assert planned_steps(run, 240)[0] == 10
    assert device_choice(small.settings(trainer__devices="2,5")) == [2, 5]


@pytest.mark.parametrize(
    ("cuda", "accelerator", "devices", "local_rank", "expected"),
    [
        (False, "auto", "auto", "0", "cpu"),
        (True, "cpu", "auto", "0", "cpu"),
        (True, "mps", "auto", "0", "cpu"),
        (True, "auto", "auto", "0", "cuda:0"),
        (True, "gpu", "2", "1", "cuda:1"),
        (True, "cuda", "2,5", "0", "cuda:2"),
        (True, "auto", "2,5", "1", "cuda:5"),
    ],
)
def test_a_process_computes_on_its_own_gpu(
    cuda: bool, accelerator: str, devices: str, local_rank: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"RANK": local_rank, "LOCAL_RANK": local_rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert str(place(small.settings(trainer__accelerator=accelerator, trainer__devices=devices))) == expected


@pytest.mark.parametrize(("devices", "found"), [("0", "'0'"), ("two", "'two'"), ("1,1", "'1,1'")])
def test_devices_that_are_none_are_refused(devices: str, found: str) -> None:
    with pytest.raises(ConfigError, match=f"trainer.devices is {found}; allowed: auto, a number"):
        device_count(small.settings(trainer__devices=devices))


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        ({}, {"trainer__num_nodes": 2}, "torchrun or srun starts one process per device"),
        ({"WORLD_SIZE": "4"}, {}, "but not RANK"),
        ({"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, {"trainer__devices": "2"}, "set trainer.num_nodes=2"),
        ({"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}, {"trainer__devices": "2"}, "set trainer.devices=4, or auto"),
        ({"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "2"}, {}, "start as many on each"),
    ],
)
def test_a_world_that_is_not_the_configs_is_refused(
    words: dict[str, str], settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = {"RANK": "0", "LOCAL_RANK": "0"} if "LOCAL_WORLD_SIZE" in words else {}
    for name, value in {**words, **ranks}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        world.check(small.settings(**settings), world.current())


def test_what_srun_says_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    told = {"PROCID": "5", "LOCALID": "1", "NODEID": "2", "STEP_NUM_TASKS": "8", "STEP_NUM_NODES": "4",
            "STEP_NODELIST": "node[07-10]", "JOB_ID": "123456"}  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert world.current() == world.World(rank=5, size=8, local_rank=1, local_size=2)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("node07", "18456")
    assert world.current().nodes == 4
