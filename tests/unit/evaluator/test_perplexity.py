"""Perplexity and bits per byte against the loss that transformers computes."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.evaluation import subjects
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluator.perplexity import Perplexity
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.sft import Sft
from tuneforge.training.text.render import prompt_ids

TEXTS = ["Once upon a time", "日本語 👍🏽", "مرحبا بالعالم", "a" * 200, "é", "line\n\nline"]


def whole(lm: Any, rows: Any, strategy: Any) -> dict[str, float]:
    context: Any = SimpleNamespace(run=SimpleNamespace(strategy=strategy))
    stats = list(Perplexity().measure(lm, rows, context))
    return dict(Perplexity().aggregate({name: np.array([one[name] for one in stats]) for name in stats[0]}))


def loss(model: Any, ids: list[int], start: int) -> float:
    """transformers' loss times the tokens that it is the mean of."""
    labels = torch.tensor([[-100] * start + ids[start:]])
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([ids]), labels=labels).loss) * (len(ids) - start)


@pytest.mark.parametrize("make", [subjects.llama, subjects.gpt2])
@pytest.mark.parametrize("answers", [False, True])
def test_figures_are_transformers_loss(make: Any, answers: bool) -> None:
    lm = HFLM("base", make().double(), subjects.tokenizer(begin=True))
    rows, nats, tokens, size = [], 0.0, 0, 0
    for text in TEXTS:
        row = subjects.row(prompt="q", completion=text) if answers else subjects.row(text=text)
        before = prompt_ids(row.columns, lm.tokenizer) if answers else [lm.tokenizer.bos_token_id]
        ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
        nats, tokens = nats + loss(lm.model, before + ids, len(before)), tokens + len(ids)
        size += len(text.encode())
        rows.append(row)
    found = whole(lm, rows, Sft() if answers else Clm())
    # transformers casts the logits to float32 before its loss, and so does the language model that is asked.
    assert found["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(nats / size / math.log(2), rel=1e-6)


def test_figures_are_sums_in_float64() -> None:
    lm = HFLM("base", subjects.llama(), subjects.tokenizer(begin=True))
    rows = [subjects.row(text=text) for text in TEXTS]
    scores = np.array([lm.log_probs([row], "text")[0] for row in rows])
    found = whole(lm, rows, Clm())
    nats, tokens, size = -scores[:, 0].sum(), scores[:, 1].sum(), sum(len(text.encode()) for text in TEXTS)
    assert found["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-6)
    assert found["bits_per_byte"] == pytest.approx(nats / size / math.log(2), rel=1e-6)
