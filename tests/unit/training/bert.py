"""A small BERT with a tokenizer of words, for the tests of masked and embedding models."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = 95


def tokenizer(mask: str | None = "[MASK]") -> Any:
    """One id per word `w0` to `w94`, [CLS] before and [SEP] after a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate([*SPECIAL, *(f"w{i}" for i in range(WORDS))])}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token=mask, model_max_length=64,
    )  # fmt: skip


def bert(kind: str = "BertForMaskedLM", seed: int = 0, dropout: float = 0.0) -> Any:
    """Random weights; 64 positions."""
    import transformers

    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL) + WORDS, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=64, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout, initializer_range=0.2,
    )  # fmt: skip
    return getattr(transformers, kind)(config)


def saved(folder: Path, kind: str = "BertForMaskedLM") -> Path:
    """Model and tokenizer in Hugging Face's format."""
    bert(kind).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def sentence(draw: random.Random, low: int = 3, high: int = 12) -> str:
    return " ".join(f"w{draw.randrange(WORDS)}" for _ in range(draw.randint(low, high)))
