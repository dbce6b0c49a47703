"""Vectors of texts, and what imbalanced-learn puts between them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE

from tests.unit.training import small
from tuneforge.errors import ConfigError
from tuneforge.rows import Encoded
from tuneforge.training.batches.collate import collate
from tuneforge.training.loss.synthetic import output_layer, synthesise, vectors_of
from tuneforge.training.random_state import streams

CLASSES = 4
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def headed(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "Llama":
        config = small.llama().config
        config.num_labels = CLASSES
    elif kind == "GPT2":
        config = small.gpt2().config
        config.num_labels = CLASSES
    elif kind == "DistilBert":
        config = transformers.DistilBertConfig(vocab_size=97, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
        config.num_labels = CLASSES
    else:
        config = getattr(transformers, f"{kind}Config")(vocab_size=97, num_labels=CLASSES, pad_token_id=0, **SIZES)
    return getattr(transformers, f"{kind}ForSequenceClassification")(config)


@pytest.mark.parametrize(
    ("kind", "layer"),
    [("Llama", "score"), ("GPT2", "score"), ("Bert", "classifier"), ("DistilBert", "classifier"),
     ("Roberta", "classifier.out_proj"), ("Electra", "classifier.out_proj")],
)  # fmt: skip
def test_vectors_are_what_the_head_reads(kind: str, layer: str) -> None:
    """Row by row, without padding, in training mode with dropout before and after."""
    model, rows = headed(kind).train(), [Encoded({"input_ids": r.parts["input_ids"]}) for r in small.rows(70, 3)]
    found = vectors_of(model, rows, lambda some: collate(some, 0))
    assert model.training
    name, head = output_layer(model)
    assert name == layer
    model.eval()
    with torch.no_grad():
        for row, vector in zip(rows[:20], found, strict=False):
            ids = torch.tensor([row.parts["input_ids"]])
            torch.testing.assert_close(head(vector), model(input_ids=ids).logits[0], atol=1e-5, rtol=1e-4)
            if kind == "Llama":
                torch.testing.assert_close(vector, model.model(input_ids=ids).last_hidden_state[0, -1])


def test_a_model_without_such_a_layer_is_refused() -> None:
    model = headed("Llama")
    model.config.num_labels = 7
    with pytest.raises(ConfigError, match="no linear layer with 7 outputs"):
        output_layer(model)


def test_a_head_that_reads_elsewhere_is_refused() -> None:
    model, rows = headed("Llama"), [Encoded({"input_ids": r.parts["input_ids"]}) for r in small.rows(9)]
    inner = model.forward
    model.forward = lambda **inputs: inner(**inputs | {"input_ids": inputs["input_ids"].flip(1)})
    with pytest.raises(ConfigError, match="gives other logits than the model"):
        vectors_of(model, rows, lambda some: {**collate(some, 0)} | {"attention_mask": torch.ones(9, 3).long()})


COUNTS = {0: 40, 1: 12, 2: 3, 3: 1}


def points() -> tuple[torch.Tensor, list[int]]:
    """Overlapping clouds of uneven size."""
    torch.manual_seed(1)
    classes = [name for name, n in COUNTS.items() for _ in range(n)]
    return torch.randn(len(classes), 8) + torch.tensor(classes).unsqueeze(1) * 0.4, classes


def test_smote_is_imbalanced_learns() -> None:
    vectors, classes = points()
    made = synthesise(vectors, classes, "smote", 5)
    assert Counter(made.classes.tolist()) == {1: 28, 2: 37}
    assert made.left == {"only one row": [3]}
    assert made.per_row == pytest.approx(65 / 56)
    for name, k in ((1, 5), (2, 2)):
        sampler = SMOTE(sampling_strategy={name: 40}, k_neighbors=k, random_state=5)
        wanted = sampler.fit_resample(vectors.double().numpy(), np.array(classes))[0][56:]
        own = made.vectors[made.classes == name]
        np.testing.assert_allclose(own.numpy(), wanted.astype(np.float32), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "sampler"), [("borderline", BorderlineSMOTE), ("adasyn", ADASYN)])
def test_variants_are_imbalanced_learns(kind: str, sampler: Any) -> None:
    vectors, classes = points()
    made = synthesise(vectors, classes, kind, 5)
    k = {"n_neighbors" if kind == "adasyn" else "k_neighbors": 5}
    wanted = sampler(sampling_strategy={1: 40}, random_state=5, **k)
    wanted = wanted.fit_resample(vectors.double().numpy(), np.array(classes))[0][56:]
    np.testing.assert_allclose(made.vectors[made.classes == 1].numpy(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["borderline", "adasyn"])
def test_classes_that_are_far_from_all_others_are_said(kind: str) -> None:
    vectors = torch.cat([torch.randn(30, 4), torch.randn(20, 4) + 100])
    made = synthesise(vectors, [0] * 30 + [1] * 20, kind, 0)
    assert made.left == {f"{kind} sees no row that needs them": [1]}
    assert len(made.vectors) == made.per_row == 0


def test_even_classes_get_none() -> None:
    made = synthesise(torch.randn(20, 4), [0, 1] * 10, "smote", 0)
    assert len(made.vectors) == made.per_row == 0
    assert made.left == {}


def test_too_few_rows_are_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.smote=borderline cannot be made of these 5 rows"):
        synthesise(torch.randn(5, 4), [0, 0, 0, 1, 1], "borderline", 0)


def test_draws_hold_to_their_share_and_their_row() -> None:
    vectors, classes = points()
    made = synthesise(vectors, classes, "smote", 0)
    rows = [made.drawn(streams([seed])) for seed in range(3000)]
    assert sum(map(len, rows)) == pytest.approx(3000 * 65 / 56, rel=0.03)
    assert {len(r) for r in rows} == {1, 2}
    assert torch.equal(made.drawn(streams(range(50))), torch.cat(rows[:50]))
    assert set(torch.cat(rows).tolist()) == set(range(65))
