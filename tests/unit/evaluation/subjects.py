"""Small real models, tokenizers, rows and runs for the tests of evaluation."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch

from tuneforge.context import RunContext
from tuneforge.rows import HeldOut, Row, content_hash
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft

torch.set_num_threads(1)
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer(template: str | None = TEMPLATE, begin: bool = False, end: bool = True) -> Any:
    """Bytes as tokens, with the template's control tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(letters, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = {"bos_token": "<s>"} if begin else {}
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<|end|>" if end else None, **special,
        additional_special_tokens=["<|user|>", "<|assistant|>", "<|system|>"],
    )  # fmt: skip
    made.chat_template = template
    return made


def llama(seed: int = 0, context: int = 256, vocabulary: int = 264) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=context, bos_token_id=None, eos_token_id=None, pad_token_id=0,
        initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def gpt2(seed: int = 0) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=264, n_positions=256, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3, bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def row(**columns: Any) -> Row:
    return Row(columns=columns, id=content_hash(columns), source="data.job", file="job.jsonl", line=1)


def questions(n: int, seed: int = 0) -> list[Row]:
    """Distinct prompts of uneven length; the answer is always `ok`."""
    draw = random.Random(seed)
    words = ["alpha", "beta", "gamma", "é", "日本", "x"]
    return [row(prompt=f"{seed} {i} {' '.join(draw.choices(words, k=draw.randint(1, 6)))}", completion="ok")
            for i in range(n)]  # fmt: skip


def taught(model: Any, tokens: Any, rows: list[Row], steps: int = 40) -> Any:
    """The model after a few steps on the answers to the rows."""
    from tuneforge.training.text.render import answers

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    found = answers([r.columns for r in rows], tokens, "completion")
    model.train()
    for step in range(steps):
        one = found[step % len(found)]
        ids = torch.tensor([one.ids])
        labels = ids.clone()
        labels[:, : one.cut] = -100
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def held(rows: list[Row], name: str = "job", split: str = "test", role: str = "target") -> HeldOut:
    return HeldOut(name, split, role, rows)


def run(strategy: Any = None, **gate: Any) -> Run:
    made = Run(strategy=strategy or Sft())
    for key, value in gate.items():
        setattr(made.gate, key, value)
    return made


def context(made: Run, folder: Path) -> RunContext:
    return RunContext(made, folder)
