"""BERTScore equals the library's greedy matching, with any model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.evaluation import subjects
from tests.unit.evaluator.answers import Notes, asked, pairs
from tuneforge.errors import ConfigError
from tuneforge.evaluation.token_vectors import TokenVectors, matched
from tuneforge.evaluator.bert_score import BertScore
from tuneforge.rows import Answer, Loaded
from tuneforge.settings import Run


class Reading(Notes):
    """A context whose other model is at hand, in float64."""

    def __init__(self, kind: str = "llama") -> None:
        super().__init__()
        made = encoder() if kind == "bert" else subjects.llama().model
        self.run, self.loaded = Run(), Loaded(made.double().eval(), tokenizer())
        self.asked: list[tuple[str, str]] = []

    def frozen(self, path: str, head: str = "causal_lm") -> Loaded:
        self.asked.append((path, head))
        return self.loaded


def tokenizer() -> Any:
    """Bytes between a token that begins and one that ends, as BERT's."""
    from tokenizers.processors import TemplateProcessing

    made = subjects.tokenizer(begin=True)
    ends = [(made.bos_token, made.bos_token_id), (made.eos_token, made.eos_token_id)]
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{made.bos_token} $A {made.eos_token}", special_tokens=ends
    )
    return made


def encoder() -> Any:
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=264, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=256, pad_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    return BertModel(config)


def theirs(loaded: Loaded, layer: int, answer: str, reference: str) -> tuple[float, ...]:
    """bert-score's own matching of vectors that transformers computes for each text by itself."""
    from bert_score.utils import greedy_cos_idf

    sides: list[Any] = []
    for text in (reference, answer):
        ids = loaded.tokenizer(text.strip())["input_ids"]
        with torch.no_grad():
            states = loaded.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[layer]
        special = loaded.tokenizer.all_special_ids
        weights = torch.tensor([[float(token not in special) for token in ids]], dtype=torch.float64)
        sides += [states.clone(), torch.ones(1, len(ids)), weights]
    return tuple(float(one) for one in greedy_cos_idf(*sides))


@pytest.mark.parametrize(("kind", "layer"), [("llama", None), ("llama", 1), ("bert", 2)])
def test_figures_are_the_librarys(kind: str, layer: int | None) -> None:
    context: Any = Reading(kind)
    cases = pairs(3, 40)
    rows = [asked(*right) for _, right in cases]
    found = list(BertScore(model="./m", layer=layer).judge(rows, [Answer(a) for a, _ in cases], context))
    for (answer, right), mine in zip(cases, found, strict=True):
        each = [theirs(context.loaded, -1 if layer is None else layer, answer, text) for text in right]
        best = tuple(max(column) for column in zip(*each, strict=True))
        assert (mine["precision"], mine["recall"], mine["bert_score"]) == pytest.approx(best, rel=1e-9)
    assert context.asked == [("./m", "embedding")]
    assert context.notes == []


def test_equal_texts_are_1_and_empty_ones_0() -> None:
    context: Any = Reading()
    rows = [asked("red cat"), asked("red cat"), asked(" "), asked("red cat")]
    answers = [Answer("red cat"), Answer(" \n"), Answer("red cat"), Answer("red cat", "no room")]
    found = [one["bert_score"] for one in BertScore(model="./m").judge(rows, answers, context)]
    assert found == pytest.approx([1, 0, 0, 0])


def test_texts_that_are_too_long_are_cut_and_counted() -> None:
    context: Any = Reading()
    [found] = BertScore(model="./m").judge([asked("red")], [Answer("red " * 25_000)], context)
    assert 0 < found["bert_score"] <= 1
    assert context.notes == ["bert_score: 1 texts are cut at 256 tokens, as ./m reads"]


def test_wrong_settings_are_named() -> None:
    context: Any = Reading()
    assert "model is empty" in next(iter(BertScore().check(context.run)))
    assert not list(BertScore(model="./m").check(context.run))
    with pytest.raises(ConfigError, match=r"evaluator.bert_score.layer=9: ./m has layers 0 to 2"):
        BertScore(model="./m", layer=9).judge([asked("a")], [Answer("a")], context)


def test_matching_by_hand() -> None:
    reader = TokenVectors(Reading("bert").loaded, 0, "./m", Reading())  # type: ignore[arg-type]
    one, other = (reader.read([text])[text] for text in ("ab", "a"))
    similar = one.vectors @ other.vectors.T
    assert np.allclose(np.linalg.norm(one.vectors, axis=1), 1)
    assert matched(one, other)[0] == pytest.approx(similar.max(1)[one.weights > 0].mean())
