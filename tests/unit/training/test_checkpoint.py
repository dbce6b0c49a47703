"""Checkpoints are whole or not there, and damage is seen."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys

import pytest
import torch

from tuneforge.errors import TuneForgeError
from tuneforge.training import random_state
from tuneforge.training.checkpoint import MANIFEST, STATE, TENSORS, Checkpoints


@pytest.fixture
def notes():
    return []


@pytest.fixture
def store(tmp_path, notes):
    return Checkpoints(tmp_path / "checkpoints", 2, notes.append)


def state(number=0):
    return {
        "weights": {"a": torch.full((40, 25), float(number)), "b": torch.arange(5, dtype=torch.bfloat16)},
        "numbers": {1: (2, 0.1), "deep": [None, True, {"x": -math.inf}]},
    }


def equal(one, two):
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return list(one) == list(two) and all(equal(one[k], two[k]) for k in one)
    if isinstance(one, list | tuple):
        return type(one) is type(two) and len(one) == len(two) and all(map(equal, one, two))
    return one == two and type(one) is type(two)


def names(store):
    return sorted(p.name for p in store.folder.iterdir())


def test_what_is_saved_comes_back(store):
    store.save(7, state(3))
    saved = store.newest()
    assert saved.step == 7
    assert equal(saved.state, state(3))
    assert sorted(p.name for p in store.path(7).iterdir()) == sorted([MANIFEST, STATE, TENSORS])


def test_none_is_none(store):
    assert store.newest() is None


def test_tied_tensors_and_views_are_saved(store):
    base = torch.arange(6.0).reshape(2, 3)
    store.save(1, {"one": base, "same": base, "view": base.T})
    assert torch.equal(store.newest().state["view"], base.T)


def test_generators_go_on_where_they_were(store):
    random_state.seed(5)
    store.save(1, random_state.capture())
    import numpy

    draw = lambda: (random.random(), float(numpy.random.rand()), float(torch.rand(())))  # noqa: E731
    want = draw()
    random_state.restore(store.newest().state)
    assert draw() == want


def test_only_the_newest_are_kept_and_left_overs_are_swept(store):
    store.folder.mkdir()
    (store.folder / ".step-00000001.99.tmp").mkdir()
    for step in (10, 20, 30):
        store.save(step, state(step))
    assert names(store) == ["step-00000020", "step-00000030"]


def test_a_half_written_checkpoint_is_never_seen(store):
    store.save(10, state())
    (store.folder / ".step-00000020.99.tmp").mkdir()
    (store.folder / ".step-00000020.99.tmp" / TENSORS).write_bytes(b"half")
    assert store.newest().step == 10


@pytest.mark.parametrize("name", [TENSORS, STATE, MANIFEST])
@pytest.mark.parametrize("harm", ["truncated", "flipped", "empty", "missing"])
def test_a_damaged_checkpoint_is_set_aside_aloud_and_the_one_before_it_used(store, notes, name, harm):
    draw = random.Random(f"{name}{harm}")
    for round_ in range(5):
        store.save(10, state(1))
        store.save(20, state(2))
        path = store.path(20) / name
        content = bytearray(path.read_bytes())
        at = draw.randrange(len(content))
        content[at] ^= 1 << draw.randrange(8)
        if harm == "missing":
            path.unlink()
        else:
            path.write_bytes({"truncated": content[:at], "flipped": content, "empty": b""}[harm])
        saved = store.newest()
        assert saved.step == 10, f"round {round_}: byte {at} of {name}"
        assert equal(saved.state, state(1))
        assert "step-00000020" in notes[-1]
        assert "damaged" in notes[-1]
    assert names(store) == ["step-00000010", "step-00000020.damaged"]


def test_when_all_are_damaged_the_error_says_so(store):
    for step in (10, 20):
        store.save(step, state())
        (store.path(step) / TENSORS).write_bytes(b"")
    with pytest.raises(TuneForgeError, match=r"every checkpoint .* is damaged \(steps 10, 20\)"):
        store.newest()


def test_what_cannot_be_saved_is_named(store):
    with pytest.raises(TuneForgeError, match=r"a checkpoint cannot hold builtins\.set"):
        store.save(1, {"a": {1, 2}})


FULL = """
import resource, sys
from pathlib import Path
import torch
from tuneforge.errors import TuneForgeError
from tuneforge.training.checkpoint import Checkpoints
store = Checkpoints(Path(sys.argv[1]), 2, print)
store.save(10, {"w": torch.zeros(100)})
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    store.save(20, {"w": torch.zeros(1_000_000)})
except TuneForgeError as error:
    print(error)
print(sorted(p.name for p in store.folder.iterdir()), store.newest().step)
"""


def full_disk(folder, how):
    command = [sys.executable, "-W", "error", "-c", FULL, str(folder), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    message, rest = done.stdout.splitlines()
    assert "cannot write the checkpoint of step 20" in message
    assert "step-00000020" in message
    assert "need 4,000,0" in message
    assert "free " in message
    assert "the checkpoint of step 10 is intact" in message
    assert rest == "['step-00000010'] 10"


def test_a_write_that_fails_midway_leaves_the_old_checkpoint_and_no_half_files(tmp_path):
    full_disk(tmp_path / "checkpoints", "limit")


def test_a_full_disk_is_told_before_anything_is_written(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if os.geteuid() != 0 or mounted.returncode != 0:
        pytest.skip("needs to mount a small file system")
    try:
        full_disk(place / "checkpoints", "mount")
    finally:
        subprocess.run(["umount", str(place)], check=True)
