"""Model `tiny`: embedded weights, tokenizer, template, and that all of it is made by this repository."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tuneforge.adapter.full import Full
from tuneforge.components import Context
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.model.tiny import FOLDER, Tiny
from tuneforge.rows import Loaded
from tuneforge.settings import Run

SURROGATE_FREE = "hello  wörld ▁ <0x41> 日本語 \x00\x7f \U0001f600‍ \n\n\t\r\n x éé \U0010ffff"


def context(seed: int = 0) -> Context:
    run = Run(seed=seed, adapter=Full())
    return RunContext(run, Path())


@cache
def loaded() -> Loaded:
    return Tiny().load("causal_lm", context())


def same(a: Any, b: Any) -> bool:
    return all(x.equal(y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_it_loads_in_float32_without_a_network() -> None:
    import torch

    model, tokenizer = loaded()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert 1.2e6 < sum(p.numel() for p in model.parameters()) < 1.6e6
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert model.config.max_position_embeddings == tokenizer.model_max_length == 512
    assert model.config.eos_token_id == model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id


def test_the_files_are_small_safe_and_bfloat16() -> None:
    from safetensors import safe_open

    assert (FOLDER / "model.safetensors").stat().st_size < 5_000_000
    with safe_open(FOLDER / "model.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"BF16"}  # noqa: SIM118
    assert not [p.name for p in FOLDER.iterdir() if p.suffix in (".bin", ".pt", ".py")]


def test_config_needs_no_weights() -> None:
    assert Tiny().config() == json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))


def test_stock_transformers_loads_the_folder() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert AutoTokenizer.from_pretrained(FOLDER).get_vocab() == loaded().tokenizer.get_vocab()
    assert same(AutoModelForCausalLM.from_pretrained(FOLDER).float(), loaded().model)


def test_fresh_weights_follow_the_seed_and_leave_the_generator_alone() -> None:
    import torch

    state = torch.random.get_rng_state()
    first, again, other = (Tiny(fresh=True).load("causal_lm", context(seed)).model for seed in (1, 1, 2))
    assert torch.random.get_rng_state().equal(state)
    assert same(first, again)
    assert not same(first, other)
    assert not same(first, loaded().model)


def test_another_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="no head 'classification'"):
        Tiny().load("classification", context())


def test_the_committed_tokenizer_is_what_the_repository_makes(tmp_path: Path) -> None:
    from tuneforge.model.tiny_tokenizer import save

    save(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (FOLDER / name).read_text(encoding="utf-8") == (tmp_path / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("text", [SURROGATE_FREE, "".join(map(chr, range(1, 0x500))), "{\"a\": [1, 22, '3']}", ""])
def test_any_text_round_trips(text: str) -> None:
    tokenizer = loaded().tokenizer
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_template_marks_the_assistants_tokens() -> None:
    tokenizer = loaded().tokenizer
    messages = [{"role": "user", "content": "Repeat: a b"}, {"role": "assistant", "content": "a b"}]
    made = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    marked = [i for i, mark in zip(made["input_ids"], made["assistant_masks"], strict=True) if mark]
    assert tokenizer.decode(marked) == "a b<|im_end|>"
    prompt = tokenizer.apply_chat_template(messages[:1], return_dict=True, add_generation_prompt=True)["input_ids"]
    assert made["input_ids"][: len(prompt)] == prompt


def test_it_does_what_it_was_trained_for() -> None:
    model, tokenizer = loaded()
    asked = {
        "Reverse the words: river book": "book river",
        "Is 7 more than 12?": "no",
        "Repeat: milk door": "milk door",
    }
    for prompt, answer in asked.items():
        messages = [{"role": "user", "content": prompt}]
        made = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        out = model.generate(**made, max_new_tokens=12, do_sample=False)
        assert tokenizer.decode(out[0, made["input_ids"].shape[1] :], skip_special_tokens=True) == answer


def test_the_committed_configuration_is_what_the_repository_makes(tmp_path: Path) -> None:
    from tuneforge.model.tiny_build import write_config

    write_config(tmp_path)
    for name in ("config.json", "generation_config.json"):
        made, kept = (json.loads((folder / name).read_text(encoding="utf-8")) for folder in (tmp_path, FOLDER))
        assert {**made, "transformers_version": ""} == {**kept, "transformers_version": ""}, name
