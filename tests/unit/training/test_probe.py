"""The two-document probe, on models that isolate and on models that leak."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, MambaConfig, MambaForCausalLM, OPTConfig, OPTForCausalLM

from tuneforge.rows import Encoded
from tuneforge.training.batches.collate import collate, collate_packed
from tuneforge.training.batches.probe import LIMIT, isolation


def test_a_llama_keeps_documents_apart(tokenizer: Any, llama: Any) -> None:
    llama.train()
    state = torch.get_rng_state()
    assert isolation(llama, tokenizer) < 1e-5
    assert llama.training
    assert torch.equal(state, torch.get_rng_state())


def test_16_bit_rounding_is_no_leak(tokenizer: Any, llama: Any) -> None:
    assert isolation(llama.to(torch.bfloat16), tokenizer) < LIMIT


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opt_and_mamba_leak(tokenizer: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    size = len(tokenizer)
    opt = OPTForCausalLM(
        OPTConfig(
            vocab_size=size, hidden_size=32, num_hidden_layers=2, ffn_dim=64, num_attention_heads=4,
            max_position_embeddings=64, word_embed_proj_dim=32, init_std=0.5,
        )
    )  # fmt: skip
    assert isolation(opt.to(dtype), tokenizer) > LIMIT
    mamba = MambaForCausalLM(MambaConfig(vocab_size=size, hidden_size=32, num_hidden_layers=1, state_size=4))
    assert isolation(mamba.to(dtype), tokenizer) == math.inf


def documents() -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 300, (n,), generator=generator).tolist() for n in (40, 17, 33, 9)]


def assert_packed_equals_unpacked(model: Any) -> None:
    rows = [Encoded({"input_ids": d, "labels": d}) for d in documents()]
    packed = collate_packed([rows[:2], rows[2:]], pad=0, length=64)
    packed.pop("labels")
    alone = collate(rows, pad=0)
    alone.pop("labels")
    with torch.no_grad():
        together = model(**packed, use_cache=False).logits
        apart = model(**alone, use_cache=False).logits
    for i, row in enumerate(rows):
        start = len(rows[i - 1].parts["input_ids"]) if i % 2 else 0
        n = len(row.parts["input_ids"])
        assert (together[i // 2, start : start + n] - apart[i, :n]).abs().max() < 1e-5


def test_packed_logits_equal_unpacked_on_a_random_llama(llama: Any) -> None:
    assert_packed_equals_unpacked(llama)


@pytest.mark.shared
def test_packed_logits_equal_unpacked_on_a_real_model(shared: Path) -> None:
    folder = shared / "models" / "stories260K"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    # Its logits reach 20, where neighbouring float32 numbers lie 2e-6 apart.
    assert isolation(model, AutoTokenizer.from_pretrained(folder)) < LIMIT
    assert_packed_equals_unpacked(model)
