"""`tuneforge evaluate` on real folders: one base for several adapters, and what is recorded of how it was asked."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.evaluation import subjects
from tuneforge import cli, compare

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
IN_OPEN, NONBLOCK = 0x20, os.O_NONBLOCK


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, two LoRA adapters, one that also brings a layer of its own, a prompt of virtual tokens, another model."""
    import torch
    from peft import LoraConfig, PromptTuningConfig, get_peft_model

    place = tmp_path_factory.mktemp("models")
    lora = {"r": 2, "init_lora_weights": False, "task_type": "CAUSAL_LM"}
    configs = {
        "one": LoraConfig(target_modules=["q_proj"], **lora),
        "two": LoraConfig(target_modules=["v_proj"], **lora),
        "own": LoraConfig(target_modules=["v_proj"], modules_to_save=["lm_head"], **lora),
        "virtual": PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    }
    subjects.llama().save_pretrained(place / "base")
    subjects.tokenizer().save_pretrained(place / "base")
    for seed, (name, config) in enumerate(configs.items()):
        torch.manual_seed(seed)
        base = subjects.llama()
        base.name_or_path = str(place / "base")
        adapted = get_peft_model(base, config)
        if name == "own":
            with torch.no_grad():
                adapted.base_model.model.lm_head.modules_to_save["default"].weight += 0.5
        adapted.save_pretrained(place / name)
    subjects.gpt2().save_pretrained(place / "plain")
    subjects.tokenizer(template=None).save_pretrained(place / "plain")
    return place


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`tuneforge evaluate` with these words on ten rows; the run directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNEFORGE_CACHE", str(tmp_path / "cache"))
    rows = [{"prompt": f"{n} plus {n + 1}", "completion": str(2 * n + 1)} for n in range(10)]
    Path("sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(*words: str) -> Path:
        assert cli.main(["evaluate", *words, "test=sums.jsonl", "evaluator=[exact_match,perplexity]"]) == 0
        return Path("outputs/latest").resolve()

    return run


def read(folder: Path, name: str = "metrics.json") -> Any:
    return json.loads((folder / name).read_text())


def answers(folder: Path, model: str) -> list[str]:
    return [json.loads(line)["answers"][model] for line in (folder / "samples.jsonl").read_text().splitlines()]


class Opened:
    """How often the kernel opened a file: what a library in another language reads is counted too."""

    def __init__(self, file: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.watch = libc.inotify_init1(NONBLOCK)
        assert libc.inotify_add_watch(self.watch, str(file).encode(), IN_OPEN) >= 0

    def count(self) -> int:
        found = 0
        while True:
            try:
                events = os.read(self.watch, 4096)
            except BlockingIOError:
                return found
            while events:
                found, events = found + 1, events[16 + struct.unpack("iIII", events[:16])[3] :]


def test_adapters_of_one_base_load_it_once_and_leave_it_as_it_was(models: Path, evaluate: Callable[..., Path]) -> None:
    weights = Opened(models / "base" / "model.safetensors")
    alone = evaluate(str(models / "base"))
    once = weights.count()
    assert once > 0
    names = ["one", "base", "plain", "two", "virtual"]
    together = evaluate(*(str(models / name) for name in names))
    assert weights.count() == once
    assert list(read(together)["variants"]) == names
    assert answers(together, "base") == answers(alone, "base")
    for name in ("one", "two", "virtual"):
        assert answers(together, name) != answers(together, "base")
        single = evaluate(str(models / name))
        assert answers(single, name) == answers(together, name)


def test_one_base_at_a_time_is_where_the_run_computes(
    models: Path, evaluate: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from tuneforge.evaluation import contenders

    here, moves = torch.device("cpu:0"), list[tuple[str, str]]()
    placed = contenders.placed

    def watched(loaded: Any, device: Any) -> Any:
        moves.append((loaded.model.config.model_type, str(device)))
        return placed(loaded, device)

    monkeypatch.setattr("tuneforge.training.devices.place.place", lambda run: here)
    monkeypatch.setattr(contenders, "place", lambda run: here)
    monkeypatch.setattr(contenders, "placed", watched)
    evaluate(*(str(models / name) for name in ("one", "base", "plain")))
    assert list(dict.fromkeys(moves)) == [("llama", "cpu:0"), ("llama", "cpu"), ("gpt2", "cpu:0"), ("gpt2", "cpu")]


def test_a_base_that_an_adapter_changed_is_loaded_again(models: Path, evaluate: Callable[..., Path]) -> None:
    alone, together = evaluate(str(models / "base")), evaluate(str(models / "own"), str(models / "base"))
    assert answers(together, "own") != answers(together, "base")
    assert answers(together, "base") == answers(alone, "base")


def test_models_with_other_tokenizers_and_templates_compare(
    models: Path, evaluate: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = evaluate(str(models / "base"), str(models / "plain"))
    variants = read(folder)["variants"]
    assert variants["plain"]["template"] == "plain text" != variants["base"]["template"]
    assert variants["base"]["first_prompt_ids"] != variants["plain"]["first_prompt_ids"]
    rows = read(folder)["rows"]
    assert len({row["protocol"] for row in rows if row["metric"] == "exact_match"}) == 1
    assert len({row["prompt"] for row in rows}) == 2
    said = capsys.readouterr().out
    assert "without an end" not in said  # exact_match cuts only what is wrong already
    assert "difference to the first" in said


def test_answers_at_a_limit_that_was_given_are_counted(
    models: Path, evaluate: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["evaluator=[exact_match,rouge]", "evaluator.rouge.max_tokens=9"]
    assert cli.main(["evaluate", str(models / "base"), "test=sums.jsonl", *given]) == 0
    said = capsys.readouterr().out
    assert re.search(r"base: \d+ of 10 answers reached max_tokens=9 without an end", said)
    assert said.count("without an end") == 1
    assert "difference" not in said, "there is one model"


def test_a_second_evaluation_finds_everything(models: Path, evaluate: Callable[..., Path]) -> None:
    first, again = evaluate(str(models / "base")), evaluate(str(models / "base"))
    assert read(first) == read(again)
    notes = [note["text"] for note in read(again, "run.json")["notes"]]
    assert "base: 10 of 10 answers come from the cache of earlier evaluations" in notes
    assert not any("cache" in note["text"] for note in read(first, "run.json")["notes"])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"peft_type": "LORA"}', "names no base model"),
        ("{torn", "adapter_config.json cannot be read"),
        ('{"peft_type": "LORA", "base_model_name_or_path": "tiny_that_is_not"}', "tiny_that_is_not"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_named(
    config: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken").mkdir()
    Path("broken/adapter_config.json").write_text(config)
    assert cli.main(["evaluate", "broken"]) == 2
    assert said in capsys.readouterr().err


def test_a_terminated_evaluation_is_recorded_as_such(
    models: Path, evaluate: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(compare, "_measure", stopped)
    assert cli.main(["evaluate", str(models / "base"), "test=sums.jsonl", "evaluator=exact_match"]) == 143
    assert read(Path("outputs/latest").resolve(), "run.json")["status"] == "preempted"
    assert "SIGTERM" in capsys.readouterr().err


def test_a_set_of_which_no_row_can_be_used_is_not_called_missing(
    models: Path, evaluate: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("numbers.jsonl").write_text('{"prompt": "a?", "completion": 1}\n')
    words = ["evaluate", str(models / "base"), "evaluator=exact_match"]
    assert cli.main([*words, "test=numbers.jsonl"]) == 2
    assert (
        "evaluate: no row of the test sets can be used, 1 are quarantined, as numbers.jsonl:1: wrong type: 'completion'"
        " is a number, not text; '{completion}' instead of the column makes text of it"
    ) in capsys.readouterr().err
    assert cli.main([*words, "test=numbers.jsonl", "test.numbers.columns.completion='{completion}'"]) == 0


def test_a_model_named_twice_is_refused(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(models / "base"), str(models / "base")]) == 2
    assert "is named 2 times" in capsys.readouterr().err


def test_an_adapter_that_does_not_fit_the_base_after_it_is_refused(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", str(models / "one"), str(models / "plain")]) == 2
    said = capsys.readouterr().err
    assert "one: the adapter does not fit its base" in said
    assert "a model folder that is named after an adapter is taken for its base" in said
