"""What a model with a head gave before: found to the bit when nothing has changed, never when something has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.evaluation import heads, subjects
from tuneforge.components import Strategy
from tuneforge.evaluation.heads import HeadLM
from tuneforge.rows import Loaded
from tuneforge.strategy.classification import Classification
from tuneforge.strategy.contrastive import Contrastive, Pooling
from tuneforge.strategy.mlm import Mlm
from tuneforge.strategy.reward import Reward
from tuneforge.strategy.token_classification import TokenClassification

TEXTS = [f"text {'x' * (i % 7)} {i}" for i in range(40)]


@cache
def tokens() -> Any:
    found = subjects.tokenizer(template=None, begin=True)
    found.add_special_tokens({"mask_token": "<mask>"})
    return found


@dataclass
class Head:
    """A head, and what it is asked."""

    strategy: Strategy
    architecture: str
    ask: Callable[[HeadLM, Sequence[str]], Any]
    kind: str


def predict(lm: HeadLM, texts: Sequence[str]) -> Any:
    return lm.predict(heads.labelled(["a"] * len(texts), texts))


def tag(lm: HeadLM, texts: Sequence[str]) -> Any:
    words = [text.split() for text in texts]
    return np.concatenate(lm.tag(heads.tagged_rows([["a"] * len(one) for one in words], words)))


def reward(lm: HeadLM, texts: Sequence[str]) -> Any:
    return lm.reward([heads.made({"prompt": "q", "chosen": t, "rejected": "no"}, 1) for t in texts], "chosen")


def log_probs(lm: HeadLM, texts: Sequence[str]) -> Any:
    return lm.log_probs([heads.made({"text": text}, 1) for text in texts], "text")


HEADS = {
    "classes": Head(Classification(), "ForSequenceClassification", predict, "scores of classes"),
    "tags": Head(TokenClassification(), "ForTokenClassification", tag, "tags"),
    "embeddings": Head(Contrastive(), "Model", lambda lm, texts: lm.embed(texts), "embeddings"),
    "rewards": Head(Reward(), "ForSequenceClassification", reward, "rewards"),
    "masked": Head(Mlm(), "ForMaskedLM", log_probs, "log-probabilities of hidden tokens"),
}


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> Head:
    return HEADS[request.param]


def model(head: Head) -> Any:
    import transformers

    torch.manual_seed(1)
    classes = ["a", "b", "c"] if head.strategy.head != "reward" else ["r"]
    config = transformers.BertConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=len(tokens()),
        pad_token_id=tokens().pad_token_id, initializer_range=0.3, id2label=dict(enumerate(classes)),
    )  # fmt: skip
    return getattr(transformers, f"Bert{head.architecture}")(config)


def asked(head: Head, cache: Path, strategy: Strategy | None = None) -> tuple[HeadLM, list[int]]:
    """Who is asked, and the rows of every batch of texts that the model reads."""
    loaded, read = model(head), list[int]()

    def count(_: Any, args: Any, kwargs: Any) -> None:
        rows, width = kwargs["input_ids"].shape
        if width > 4:  # what is tried on a masked language model is shorter
            read.append(rows)

    loaded.register_forward_pre_hook(count, with_kwargs=True)
    context = heads.settings(["a", "b", "c"], strategy or head.strategy)
    return HeadLM("base", Loaded(loaded, tokens()), context, cache), read


def test_another_evaluation_of_equal_weights_computes_nothing(head: Head, tmp_path: Path) -> None:
    lm, _ = asked(head, tmp_path)
    first = head.ask(lm, TEXTS)
    again, read = asked(head, tmp_path)
    assert np.array_equal(head.ask(again, TEXTS), first)
    assert read == []
    assert list(again.trouble.notes("base")) == [
        f"base: {len(TEXTS)} of {len(TEXTS)} {head.kind} come from the cache of earlier evaluations"
    ]


def test_an_evaluation_that_was_stopped_goes_on_and_gives_the_same(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneforge.evaluation.heads.BATCH_TOKENS", 100)
    whole = head.ask(asked(head, tmp_path / "undisturbed")[0], TEXTS)
    stopped, _ = asked(head, tmp_path / "stopped")
    batches = iter(range(4))

    def stop(*_: Any) -> None:
        if next(batches, None) is None:
            raise KeyboardInterrupt

    stopped.model.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        head.ask(stopped, TEXTS)
    lm, read = asked(head, tmp_path / "stopped")
    assert np.array_equal(head.ask(lm, TEXTS), whole)
    [note] = [n for n in lm.trouble.notes("base") if "come from the cache" in n]
    assert 0 < int(note.split()[1]) == len(TEXTS) - sum(read)


def test_a_model_that_was_trained_on_is_asked_anew(head: Head, tmp_path: Path) -> None:
    lm, read = asked(head, tmp_path)
    head.ask(lm, TEXTS)
    lm.model.get_input_embeddings().weight.data[5, 3] += 1e-3
    read.clear()
    head.ask(lm, TEXTS)
    assert sum(read) == len(TEXTS)


def test_what_pools_the_vectors_is_part_of_their_name(tmp_path: Path) -> None:
    mean = asked(HEADS["embeddings"], tmp_path)[0].embed(TEXTS)
    last, read = asked(HEADS["embeddings"], tmp_path, Contrastive(pooling=Pooling.last))
    assert np.abs(last.embed(TEXTS) - mean).max() > 1e-3
    assert sum(read) == len(TEXTS)


def test_a_module_of_ones_own_is_kept_too(tmp_path: Path) -> None:
    class Own(torch.nn.Module):
        """No model of transformers, but for its config."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = model(HEADS["classes"])
            self.config = self.inner.config

        def forward(self, **asked: Any) -> Any:
            return self.inner(**asked)

    context = heads.settings(["a", "b", "c"], Classification())
    lm = HeadLM("base", Loaded(Own(), tokens()), context, tmp_path)
    assert predict(lm, TEXTS) == pytest.approx(predict(asked(HEADS["classes"], tmp_path / "other")[0], TEXTS))
    again = HeadLM("base", Loaded(Own(), tokens()), context, tmp_path)
    predict(again, TEXTS)
    assert again.trouble.recalled.total() == len(TEXTS)
