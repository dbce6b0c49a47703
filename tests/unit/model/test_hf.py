"""Models in Hugging Face's format: what loads, and what is refused with which words."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tuneforge.errors import ConfigError
from tuneforge.evaluator.reward_model import RewardModel
from tuneforge.model.hf import Attention, DType, Hf
from tuneforge.strategy.distill import Distill
from tuneforge.strategy.multitask import Multitask
from tuneforge.strategy.sft import Sft


def load(make_run: Callable[..., Any], **fields: Any) -> Any:
    run, context = make_run(model=Hf(**fields))
    return run.model.load("causal_lm", context), context


def refused(make_run: Callable[..., Any], **fields: Any) -> str:
    with pytest.raises(ConfigError) as error:
        load(make_run, **fields)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_folder_loads(make_run: Callable[..., Any], model_folder: Path) -> None:
    loaded, context = load(make_run, path=str(model_folder), attention=Attention.eager)
    assert next(loaded.model.parameters()).dtype == (
        torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32
    )
    assert loaded.model.config._attn_implementation == "eager"
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id == 0
    assert context.notes[0]["text"].startswith("model.dtype=auto: ")
    assert Hf(path=str(model_folder)).config()["model_type"] == "llama"


def test_the_dtype_is_what_was_asked_for(make_run: Callable[..., Any], model_folder: Path) -> None:
    loaded, context = load(make_run, path=str(model_folder), dtype=DType.bfloat16)
    assert next(loaded.model.parameters()).dtype == torch.bfloat16
    assert context.notes == []


@pytest.mark.parametrize("given", ["none", "file", "text", None])
def test_chat_templates(make_run: Callable[..., Any], model_folder: Path, tmp_path: Path, given: str | None) -> None:
    text = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    (tmp_path / "mine.jinja").write_text(text, encoding="utf-8")
    value = {"none": "none", "file": str(tmp_path / "mine.jinja"), "text": text, None: None}[given]
    loaded, _ = load(make_run, path=str(model_folder), chat_template=value)
    found = loaded.tokenizer.chat_template
    assert found is None if given == "none" else found.startswith("{% for m in messages %}")
    assert (found == text) is (given in ("file", "text"))


def test_bad_chat_templates(make_run: Callable[..., Any], model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text("x", encoding="utf-8")
    path = str(model_folder)
    assert "the chat template cannot be used: " in refused(make_run, path=path, chat_template="{% for m in messages %}")
    assert "the chat template cannot be used: " in refused(
        make_run, path=path, chat_template="{{ raise_exception('x') }}"
    )
    found = refused(make_run, path=path, chat_template=str(tmp_path / "mime.jinja"))
    assert "Did you mean 'mine.jinja'?" in found


def test_the_pad_token_is_chosen_without_growing_the_vocabulary(
    make_run: Callable[..., Any], model_folder: Path
) -> None:
    settings = model_folder / "tokenizer_config.json"
    config = json.loads(settings.read_text())
    config.pop("pad_token")
    settings.write_text(json.dumps(config))
    loaded, context = load(make_run, path=str(model_folder))
    assert loaded.tokenizer.pad_token == "<pad>"
    assert any("the tokenizer has no pad token; '<pad>' fills batches" in note["text"] for note in context.notes)


@pytest.mark.shared
def test_a_tokenizer_with_eos_alone_pads_with_it(shared: Path, make_run: Callable[..., Any]) -> None:
    from transformers import AutoTokenizer

    from tuneforge.model.tokenizer import prepare

    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "tokenizers" / "gpt2")
    _, context = make_run()
    prepare(tokenizer, None, context)
    assert tokenizer.pad_token == "<|endoftext|>"
    assert len(tokenizer) == 50257


def test_missing_folders_name_the_nearest(make_run: Callable[..., Any], model_folder: Path) -> None:
    wrong = model_folder.parent / "chaty"
    assert refused(make_run, path=str(wrong)) == f"model.path={wrong}: no such folder. Did you mean '{model_folder}'?"
    assert "is a file; a folder with config.json is needed" in refused(make_run, path=str(model_folder / "config.json"))


def test_an_unreachable_hub_is_one_line(make_run: Callable[..., Any]) -> None:
    found = refused(make_run, path="nobody/no-such-model")
    assert found.startswith(
        "model.path=nobody/no-such-model: no such folder, and the Hugging Face hub does not give it"
    )


def test_a_hub_that_does_not_answer_is_asked_once() -> None:
    """By a server that hangs up; nothing of the model is then asked for, which would take 20 s a file."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    visitor = server.accept()[0]
                    asked.append(visitor.recv(4096).split(b"\r\n")[0])
                    visitor.close()

        threading.Thread(target=hang_up, daemon=True).start()
        code = "from tuneforge.model.hf import Hf; Hf(path='nobody/no-such-model').config()"
        env = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        found = subprocess.run(
            [sys.executable, "-c", code], env=env | {"HF_ENDPOINT": address, "NO_PROXY": "127.0.0.1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert "the Hugging Face hub does not give it" in found.stderr
    assert sum(line.startswith(b"HEAD / ") for line in asked) == 1
    assert not [line for line in asked if b"no-such-model" in line]


def test_another_model_is_refused_by_the_key_that_names_it(make_run: Callable[..., Any], tmp_path: Path) -> None:
    gone, empty = str(tmp_path / "gone"), tmp_path / "empty"
    empty.mkdir()
    tasks = Multitask(tasks={"learn": Distill(teacher="nobody/no-such-model"), "chat": Sft()})
    _, context = make_run(
        strategy=tasks, evaluator={"judge": RewardModel(path=gone), "odd": RewardModel(path=str(empty))}
    )
    for path, line in (
        (gone, f"evaluator.judge.path={gone}: no such folder."),
        (str(empty), f"evaluator.odd.path={empty} has no config.json"),
        ("nobody/no-such-model", "strategy.tasks.learn.teacher=nobody/no-such-model: no such folder, and the Hugging"),
    ):
        with pytest.raises(ConfigError) as error:
            context.frozen(path)
        assert str(error.value).startswith(line)


def test_a_folder_that_is_no_model(make_run: Callable[..., Any], tmp_path: Path, model_folder: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "has no config.json (it has nothing)" in refused(make_run, path=str(empty))
    (empty / "adapter_config.json").write_text("{}")
    assert "is an adapter whose adapter_config.json names no base model" in refused(make_run, path=str(empty))
    (empty / "config.json").write_text("{")
    assert "config.json is not valid JSON" in refused(make_run, path=str(empty))
    (empty / "config.json").write_text("[]")
    assert "config.json holds no JSON object" in refused(make_run, path=str(empty))


def test_pickled_weights_are_refused(make_run: Callable[..., Any], model_folder: Path) -> None:
    (model_folder / "model.safetensors").rename(model_folder / "pytorch_model.bin")
    found = refused(make_run, path=str(model_folder))
    assert "holds only pickled weights (pytorch_model.bin), which can run code when read" in found
    (model_folder / "pytorch_model.bin").unlink()
    assert "holds no weights (*.safetensors)" in refused(make_run, path=str(model_folder))


def test_damaged_files_give_one_line(make_run: Callable[..., Any], model_folder: Path) -> None:
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert f"model.path={model_folder}: " in refused(make_run, path=str(model_folder))
    (model_folder / "tokenizer.json").write_text("{")
    assert f"model.path={model_folder}: " in refused(make_run, path=str(model_folder))


def test_remote_code_stays_off(make_run: Callable[..., Any], model_folder: Path) -> None:
    config = model_folder / "config.json"
    content = json.loads(config.read_text())
    content |= {"model_type": "strange", "auto_map": {"AutoConfig": "strange.C", "AutoModelForCausalLM": "strange.M"}}
    config.write_text(json.dumps(content))
    (model_folder / "strange.py").write_text("raise SystemExit('ran')")
    assert f"model.path={model_folder}: " in refused(make_run, path=str(model_folder))


def test_a_tokenizer_larger_than_the_embedding(
    make_run: Callable[..., Any], model_folder: Path, tmp_path: Path, tokenizer: Any
) -> None:
    tokenizer.add_tokens(["one-more"])
    shutil.copytree(model_folder, tmp_path / "grown")
    tokenizer.save_pretrained(tmp_path / "grown")
    found = refused(make_run, path=str(tmp_path / "grown"))
    assert f"the tokenizer makes ids up to {len(tokenizer) - 1}, the model's embedding has" in found


def test_an_unknown_head(make_run: Callable[..., Any]) -> None:
    run, context = make_run()
    with pytest.raises(ConfigError, match="has no head 'rewards'; it has causal_lm, masked_lm"):
        run.model.load("rewards", context)
