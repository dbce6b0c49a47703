"""What a model said before: found again when nothing has changed, and never when something has."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.evaluation import subjects
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluation.memory import Memory
from tuneforge.evaluation.prompt import Prompt

ROOT = Path(__file__).parents[3]


def asked(model: Any, cache: Path | None, **more: Any) -> HFLM:
    return HFLM("base", model, subjects.tokenizer(), cache=cache, **more)


def forwards(model: Any) -> list[int]:
    """Grows by the rows of every batch that the model reads from here on."""
    rows: list[int] = []
    model.register_forward_pre_hook(lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True)
    return rows


def test_another_evaluation_of_equal_weights_computes_nothing(tmp_path: Path) -> None:
    rows = subjects.questions(20)
    first = asked(subjects.llama(), tmp_path)
    said, nats = first.generate(rows, 6), first.log_probs(rows, "completion")
    again = asked(subjects.llama(), tmp_path)
    read = forwards(again.model)
    assert again.generate(rows, 6) == said
    assert (again.log_probs(rows, "completion") == nats).all()
    assert read == []
    assert list(again.trouble.notes("base"))[-2:] == [
        "base: 20 of 20 answers come from the cache of earlier evaluations",
        "base: 20 of 20 log-probabilities come from the cache of earlier evaluations",
    ]


def test_only_what_is_missing_is_computed_and_equal_prompts_once(tmp_path: Path) -> None:
    rows = subjects.questions(10)
    same = subjects.row(prompt=rows[0].columns["prompt"], completion="another reference")
    asked(subjects.llama(), tmp_path).generate(rows[:4], 3)
    lm = asked(subjects.llama(), tmp_path)
    read = forwards(lm.model)
    answers = lm.generate([*rows, same], 3)
    assert answers[-1] == answers[0]
    assert read[0] == 6


@pytest.mark.parametrize("how", ["optimizer", "data", "longer", "text that ends"])
def test_what_changes_an_answer_is_not_found(how: str, tmp_path: Path) -> None:
    lm, rows = asked(subjects.llama(), tmp_path), subjects.questions(3)
    before = lm.generate(rows, 4)
    most, parameter = 4, lm.model.lm_head.weight
    if how == "optimizer":
        parameter.sum().backward()
        torch.optim.SGD(lm.model.parameters(), lr=1e-3).step()
    elif how == "data":  # no version counter sees this
        parameter.data[5, 3] += 1e-3
    elif how == "longer":
        most = 5
    else:
        lm.tokenizer.chat_template = None
        lm = lm.asked("prompted", Prompt(examples=tuple(subjects.questions(1, seed=2))))
        assert lm.stop_text
    read = forwards(lm.model)
    after = lm.generate(rows, most)
    assert sum(read[:1]) == 3
    assert [a.log_prob for a in after] != [a.log_prob for a in before]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_every_weight_and_what_acts_on_them_is_part_of_the_identity() -> None:
    from peft import LoraConfig, get_peft_model

    model = subjects.llama()
    known = {Memory(model).identity}
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.view(-1)[-1] += 1e-6 * parameter.abs().max()
        known.add(Memory(model).identity)
    assert len(known) == 1 + len(list(model.parameters()))
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    memory = Memory(adapted)
    on = memory.identity
    with adapted.disable_adapter():
        assert memory.identity != on
    assert memory.identity == on == Memory(adapted).identity


def test_a_killed_evaluation_goes_on_and_gives_the_same_numbers(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.unit.evaluation.killed", str(tmp_path), "3"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["same"]
    assert 0 < found["recalled"] == found["kept"][-1] < found["everything"]


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow over 20 KB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_ends_the_cache_and_not_the_evaluation(tmp_path: Path, small_files: None) -> None:
    lm, rows = asked(subjects.llama(), tmp_path), subjects.questions(300)
    assert lm.generate(rows, 12) == asked(subjects.llama(), None).generate(rows, 12)
    [note] = [n for n in lm.trouble.notes("base") if "not kept" in n]
    assert str(tmp_path / "answers.sqlite") in note


@pytest.mark.parametrize("what", ["folder", "torn"])
def test_a_cache_that_cannot_be_read_is_said(what: str, tmp_path: Path) -> None:
    file, rows = tmp_path / "answers.sqlite", subjects.questions(64)
    if what == "folder":
        file.mkdir()
    else:
        asked(subjects.llama(), tmp_path).generate(rows, 20)
        whole = file.read_bytes()
        file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    lm = asked(subjects.llama(), tmp_path)
    assert lm.generate(rows, 20) == asked(subjects.llama(), None).generate(rows, 20)
    assert any("not kept for later evaluations" in note for note in lm.trouble.notes("base"))
