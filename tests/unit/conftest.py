"""A tokenizer with control tokens, a small Llama and a run, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuneforge.context import RunContext
from tuneforge.settings import Run

SPECIALS = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
HEAD = "{{ '<|im_start|>' + m['role'] + '\\n' }}"
MARKED = (
    "{% for m in messages %}"
    + HEAD
    + "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
UNMARKED = MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
CORPUS = [
    "user assistant system tool\n",
    "Hello there, how are you today?",
    "The answer is forty-two.",
    "Reset my VPN, please.",
    "Queue: network, urgency: 2",
    "Once upon a time there was a little dog who liked to play in the park with a ball.",
] * 4


@pytest.fixture
def tokenizer() -> Any:
    """Byte-level BPE, about 400 ids, ChatML template with generation marks; `<think>` is added but not special."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    found = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    found.add_tokens([AddedToken("<tool_response>", special=False, normalized=False)])
    found.chat_template = MARKED
    return found


def make_llama(vocabulary: int, **more: Any) -> Any:
    """A Llama of two layers with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "max_position_embeddings": 256} | more  # fmt: skip
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=vocabulary, pad_token_id=0, bos_token_id=1, eos_token_id=2, **sizes)
    ).eval()


@pytest.fixture
def llama(tokenizer: Any) -> Any:
    """A small Llama that fits the tokenizer."""
    return make_llama(len(tokenizer))


@pytest.fixture
def model_folder(tmp_path: Path, tokenizer: Any, llama: Any) -> Path:
    """Both in Hugging Face's format."""
    folder = tmp_path / "chatty"
    llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def make_run(model_folder: Path, tmp_path: Path) -> Callable[..., tuple[Run, RunContext]]:
    """A run on that model and its context; keywords set fields of the run."""

    def make(**fields: Any) -> tuple[Run, RunContext]:
        from tuneforge.adapter.full import Full
        from tuneforge.model.hf import DType, Hf
        from tuneforge.optimizer.adamw import AdamW
        from tuneforge.scheduler.constant import Constant
        from tuneforge.strategy.sft import Sft

        chosen = {
            "model": Hf(path=str(model_folder), dtype=DType.float32), "strategy": Sft(), "adapter": Full(),
            "optimizer": AdamW(), "scheduler": Constant(),
        } | fields  # fmt: skip
        run = Run(**chosen)
        return run, RunContext(run, tmp_path / "run")

    return make
