"""Every objective, trained by two processes over gloo, ends where one process does with the same rows per step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.unit.training import bert, every, small
from tests.unit.training.test_ranks import run_both, said

KINDS = list(dict.fromkeys(name.split(" ")[0] for name in every.CASES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes train every case, beginning now."""
    home = tmp_path_factory.mktemp("both")
    small.llama(seed=5, vocabulary=every.WORDS).save_pretrained(home / "teacher")
    bert.tokenizer().save_pretrained(home / "teacher")
    return home


@pytest.fixture(scope="module")
def alone(folder: Path, both: Path) -> dict[str, Any]:
    """The same cases in this one process."""
    return {kind: every.train(f"{kind} auto", folder, 1) for kind in KINDS}


@pytest.fixture(scope="module")
def both(folder: Path) -> Path:
    """The folder in which two processes have trained every case."""
    run_both(folder, every.__file__)
    return folder


def apart(name: str, both: Path, alone: dict[str, Any]) -> float:
    mine = alone[name.split(" ")[0]].model.state_dict()
    weights = load_file(both / f"{name}.safetensors")
    assert weights.keys() == mine.keys()
    # The attention does not change with the bias of its keys: the gradient is rounding alone.
    return max(float((weights[n] - mine[n]).abs().max()) for n in mine if not n.endswith("key.bias"))


@pytest.mark.parametrize("name", [name for name in every.CASES if not name.endswith("stopped")])
def test_two_processes_end_where_one_does(name: str, both: Path, alone: dict[str, Any]) -> None:
    kind, sharing = name.split(" ")[:2]
    one, two = alone[kind], said(both)[name]
    before, mine = every.case(kind, 2, 0, both / "teacher").model.state_dict(), one.model.state_dict()
    assert max(float((mine[n] - before[n]).abs().max()) for n in mine) > 1e-3
    assert apart(name, both, alone) < (1e-6 if sharing == "ddp" else 1e-5)
    assert two["steps"] == one.steps == every.STEPS
    for theirs, ours in zip(two["history"], one.history, strict=True):
        assert theirs.keys() == ours.keys()
        for key in ours.keys() - {"speed", "seconds"}:
            assert theirs[key] == pytest.approx(ours[key], abs=1e-4, nan_ok=True), (key, ours["step"])


@pytest.mark.parametrize("kind", ["grpo", "mlm"])
def test_what_is_drawn_goes_on_bit_for_bit(kind: str, both: Path) -> None:
    assert "after step 3 of 6" in said(both)[f"{kind} ddp stopped"]
    assert said(both)[f"{kind} ddp resumed"]["from"] == 3
    straight, resumed = (load_file(both / f"{kind} ddp{more}.safetensors") for more in ("", " resumed"))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_processes_with_other_caches_agree_on_what_is_missing(both: Path) -> None:
    """Each keeps the references that it computed itself; then one of them loses its half."""

    def notes(name: str, rank: int) -> str:
        return " ".join(json.loads((both / name / f"notes-{rank}.json").read_text()))

    for rank in (0, 1):
        assert "references of 21 rows before the first step: 21 computed" in notes("kto ddp", rank)
        assert "0 computed" in notes("kto ddp known", rank)
        assert "21 from the cache" in notes("kto ddp known", rank)
        assert "references of 21 rows before the first step: 10 computed" in notes("kto ddp half_known", rank)
