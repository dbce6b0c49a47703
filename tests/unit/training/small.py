"""Small models, rows and runs for the tests of training."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from tuneforge.adapter.full import Full
from tuneforge.components import Adapter, Strategy
from tuneforge.context import RunContext
from tuneforge.logger.csv import Csv
from tuneforge.optimizer.adamw import AdamW
from tuneforge.rows import Encoded, Loaded, Row
from tuneforge.scheduler.linear import Linear
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft
from tuneforge.training.text.encode import EncodedSet

torch.set_num_threads(1)
VOCABULARY = 97


def llama(seed: int = 0, dropout: float = 0.0, vocabulary: int = VOCABULARY, tie: bool = True, **more: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "max_position_embeddings": 256} | more  # fmt: skip
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary, tie_word_embeddings=tie, attention_dropout=dropout, pad_token_id=0,
            bos_token_id=None, eos_token_id=1, **sizes,
        )
    )  # fmt: skip


def gpt2(seed: int = 0) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY, n_positions=256, n_embd=32, n_layer=2, n_head=4, pad_token_id=0, bos_token_id=1,
            eos_token_id=1,
        )
    )  # fmt: skip


def rows(n: int, seed: int = 0, masked: bool = True, longest: int = 24) -> list[Encoded]:
    """Random tokens of uneven length; where masked, a random beginning carries no loss."""
    draw = random.Random(seed)
    found = []
    for _ in range(n):
        ids = [draw.randrange(2, VOCABULARY) for _ in range(draw.randint(4, longest))]
        cut = draw.randint(1, len(ids) - 1) if masked else 0
        found.append(Encoded({"input_ids": ids, "labels": [-100] * cut + ids[cut:]}))
    return found


def pairs(n: int, seed: int = 0) -> list[Encoded]:
    """Preference rows that share a prompt."""
    draw = random.Random(seed)
    found = []
    for _ in range(n):
        prompt = [draw.randrange(2, VOCABULARY) for _ in range(draw.randint(2, 8))]
        parts: dict[str, list[int]] = {}
        for side in ("chosen", "rejected"):
            answer = [draw.randrange(2, VOCABULARY) for _ in range(draw.randint(2, 12))]
            parts[f"{side}.input_ids"] = prompt + answer
            parts[f"{side}.labels"] = [-100] * len(prompt) + answer
        found.append(Encoded(parts))
    return found


def encoded(items: list[Encoded], max_length: int = 64) -> EncodedSet:
    sources = [Row(columns={}, file="train.jsonl", line=i + 1) for i in range(len(items))]
    return EncodedSet(rows=list(items), sources=sources, max_length=max_length)


def settings(strategy: Strategy | None = None, adapter: Adapter | None = None, **values: Any) -> Run:
    """A run on the CPU; `values` are set by dotted name with `__` for the dot."""
    run = Run(
        strategy=strategy or Sft(), adapter=adapter or Full(), optimizer=AdamW(learning_rate=1e-2), scheduler=Linear(),
        logger={"csv": Csv()},
    )  # fmt: skip
    chosen = {"trainer__accelerator": "cpu", "trainer__devices": "1", "trainer__log_every_n_steps": 1} | values
    for name, value in chosen.items():
        *path, last = name.split("__")
        target: Any = run
        for part in path:
            target = getattr(target, part)
        assert hasattr(target, last), name
        setattr(target, last, value)
    return run


def loaded(model: Any) -> Loaded:
    return Loaded(model, SimpleNamespace(pad_token_id=0))  # type: ignore[arg-type]


def context(run: Run, folder: Path) -> RunContext:
    return RunContext(run, folder)


def digest(model: Any) -> str:
    import hashlib

    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
