"""The tokenizer of `model=tiny`, made from text of the bundled general grammar; `train()` makes it again.

BPE over characters with byte fallback: a character that the vocabulary lacks becomes the tokens of its UTF-8
bytes, so that any text round-trips. Nothing is normalised, and no character stands for a space.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

VOCABULARY = 1024
CONTEXT = 512
ROWS = 20_000
PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
WORDS = r" ?\p{L}+| ?[^\s\p{L}\p{N}]|\p{N}| ?\s"
"""What merges may not cross: a word or a mark with the space before it, a single digit, white space."""

CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' %}
{%- generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}
{%- else %}
{{- message['content'] + '<|im_end|>' }}
{%- endif %}
{{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}"""


def train() -> Tokenizer:
    """Train it. The same versions of this package and of `tokenizers` give the same bytes."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    printable = [chr(code) for code in range(32, 127)] + ["\n"]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), "isolated")
    special, fallback = [PAD, START, END], [f"<0x{byte:02X}>" for byte in range(256)]
    size = VOCABULARY - len(special) - len(fallback)
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=printable, show_progress=False)
    learner.train_from_iterator(_texts(), trainer)
    vocabulary, merges = _learnt(learner)
    # The bytes are ordinary entries, not special ones: a text that says <0x41> is not the letter A.
    tokens = [*special, *fallback, *vocabulary]
    ids = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, byte_fallback=True))
    tokenizer.pre_tokenizer = learner.pre_tokenizer
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return tokenizer


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """As a transformers tokenizer, with the chat template and the context's length."""
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def save(folder: Path) -> None:
    """Train it and write it beside the weights."""
    wrap(train()).save_pretrained(folder)


def _learnt(learner: Tokenizer) -> tuple[list[str], list[tuple[str, str]]]:
    import json

    model = json.loads(learner.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].__getitem__), [(a, b) for a, b in model["merges"]]


def _texts() -> Iterator[str]:
    """The general grammar's training part, as the template writes it but for the special tokens."""
    import random

    from tuneforge.synthetic.grammar import load
    from tuneforge.synthetic.values import Draw

    grammar, draw = load("general"), Draw(random.Random(0).random)
    for _ in range(ROWS):
        for message in grammar.draw(draw).columns["messages"]:
            yield f"{message['role']}\n"
            yield message["content"]
