"""What classification says of weights, focal loss and synthetic vectors: refusals, notes, the loss itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.unit.evaluation.heads import settings
from tests.unit.training import small
from tests.unit.training.test_synthetic import headed
from tuneforge.adapter.freeze import Freeze
from tuneforge.adapter.full import Full
from tuneforge.errors import ConfigError
from tuneforge.rows import Encoded
from tuneforge.sections import Parallel
from tuneforge.strategy.classification import Classification, ClassWeights, Smote
from tuneforge.strategy.token_classification import ClassWeights as TagWeights
from tuneforge.strategy.token_classification import TokenClassification
from tuneforge.training.batches.collate import collate
from tuneforge.training.step import TrainingStep

HEAD = {"train": ["score"]}


def reasons(strategy: Any, adapter: Any = None, parallel: Parallel = Parallel.auto) -> list[str]:
    run = settings([], strategy).run
    run.adapter, run.trainer.strategy = adapter or Full(), parallel
    return list(strategy.check(run))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"beta": 1.0}, "strategy.beta=1.0 must be in [0, 1)"),
        ({"beta": -0.1}, "strategy.beta=-0.1 must be in [0, 1)"),
        ({"focal_gamma": -1.0}, "strategy.focal_gamma=-1.0 must be 0 or more"),
        ({"focal_gamma": float("nan")}, "strategy.focal_gamma=nan must be 0 or more"),
        ({"focal_gamma": 2.0, "label_smoothing": 0.1}, "strategy.focal_gamma goes without strategy.label_smoothing"),
    ],
)
def test_fields_out_of_range(fields: dict[str, Any], said: str) -> None:
    assert [r for r in reasons(Classification(**fields)) if r.startswith(said)]
    if "label_smoothing" not in fields:
        assert [r for r in reasons(TokenClassification(**fields)) if r.startswith(said)]


@pytest.mark.parametrize(
    ("fields", "adapter", "said"),
    [
        ({}, Full(), "strategy.smote=smote needs vectors that do not move: train the head alone, with adapter=freeze"),
        ({}, Freeze(last_layers=1), "strategy.smote=smote needs vectors that do not move"),
        ({}, Freeze(last_layers=1, **HEAD), "strategy.smote=smote needs vectors that do not move"),
        ({"multi_label": True}, Freeze(**HEAD), "strategy.smote=smote needs one class per row"),
        ({"class_weights": ClassWeights.balanced}, Freeze(**HEAD), "strategy.smote=smote and strategy.class_weights"),
    ],
)
def test_smote_says_what_it_needs(fields: dict[str, Any], adapter: Any, said: str) -> None:
    assert [r for r in reasons(Classification(smote=Smote.smote, **fields), adapter) if r.startswith(said)]
    assert reasons(Classification(smote=Smote.smote), Freeze(**HEAD)) == []


def test_smote_is_not_shared_out() -> None:
    found = reasons(Classification(smote=Smote.smote), Freeze(**HEAD), Parallel.fsdp)
    assert found == ["strategy.smote=smote needs the whole model on each device: trainer=ddp"]


def rows(classes: list[Any]) -> list[Encoded]:
    texts = small.rows(len(classes), 1)
    targets = [c if isinstance(c, list) else [c] for c in classes]
    return [Encoded({"input_ids": t.parts["input_ids"], "class": c}) for t, c in zip(texts, targets, strict=True)]


def begun(strategy: Any, data: list[Encoded], train: list[str], kind: str = "Llama") -> tuple[Any, TrainingStep]:
    context = settings(["a", "b", "c", "d"], strategy)
    context.run.adapter = Freeze(train=train)
    model = context.run.adapter.apply(headed(kind), context)
    step = TrainingStep(context.run, model, small.loaded(model).tokenizer, context)
    strategy.begin(data, step)
    return context, step


UNEVEN = [0] * 9 + [1] * 4 + [2] * 2 + [3]


def test_smote_trains_the_head_on_vectors_that_the_rows_draw() -> None:
    strategy, data = Classification(smote=Smote.smote), rows(UNEVEN)
    context, step = begun(strategy, data, ["score"])
    said = [note["text"] for note in context.notes]
    assert said == ["smote: 12 synthetic vectors of 2 classes, 0.75 for each row",
                    "smote: 1 classes get none (d): only one row"]  # fmt: skip
    batch = collate(data, 0)
    step.model.train()
    draws = [(0, 1, i) for i in range(len(data))]
    step.at([], draws=draws)
    loss = strategy.loss(step.model, batch, step)
    step.at([], draws=draws)
    chosen = strategy._synthetic.drawn(step.streams(16))  # type: ignore[union-attr]
    made = strategy._synthetic
    assert made is not None
    own = torch.nn.functional.cross_entropy(
        step.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits,
        batch["class"][:, 0], reduction="sum",
    )  # fmt: skip
    new = torch.nn.functional.cross_entropy(
        made.vectors[chosen] @ step.model.score.weight.T, made.classes[chosen], reduction="sum"
    )
    assert len(chosen) > 4
    assert loss.items == 16 + len(chosen)
    torch.testing.assert_close(loss.total, own + new)
    assert loss.logs["accuracy"][1] == 16
    step.model.eval()
    assert strategy.loss(step.model, batch, step).items == 16, "validation has rows alone"


@pytest.mark.parametrize("train", [["score", "model.layers.1"], ["*"]])
def test_smote_is_refused_where_more_than_the_head_trains(train: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"adapter\.train trains model\.\S+, below the last layer"):
        begun(Classification(smote=Smote.smote), rows(UNEVEN), train)


def test_a_dense_layer_before_the_last_may_not_train() -> None:
    with pytest.raises(ConfigError, match=r"type 'adapter.train=\[classifier.out_proj\]'"):
        begun(Classification(smote=Smote.smote), rows(UNEVEN), ["classifier"], "Roberta")


def test_weights_of_one_class_per_row() -> None:
    strategy, data = Classification(class_weights=ClassWeights.balanced), rows(UNEVEN)
    _, step = begun(strategy, data, ["score"])
    batch = collate(data, 0)
    logits = step.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.double()
    weights = torch.tensor([16 / 4 / n for n in (9, 4, 2, 1)], dtype=torch.float64)
    whole = strategy.loss(step.model, batch, step)
    wanted = torch.nn.functional.cross_entropy(logits, batch["class"][:, 0], weight=weights)
    found = float(whole.total.detach()) / float(whole.items)
    assert found == pytest.approx(float(wanted.detach()), rel=1e-6), "torch's weighted mean of all rows"


def test_weights_of_several_classes_per_row() -> None:
    strategy = Classification(class_weights=ClassWeights.balanced, multi_label=True)
    data = rows([[1, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]])
    begun(strategy, data, ["score"])
    assert strategy._weights is not None
    thirds = [4 / 2 / 3, 4 / 2]
    wanted = [thirds[::-1], thirds, [1, 1], thirds]  # the third class stands in no row: its no alone is there
    torch.testing.assert_close(strategy._weights, torch.tensor(wanted, dtype=torch.float64))


def test_weights_of_tags() -> None:
    strategy = TokenClassification(class_weights=TagWeights.balanced)
    data = [Encoded({"input_ids": [5, 6, 7, 8], "tags": [-100, 0, 0, 1]})]
    begun(strategy, data, ["score"])
    assert strategy._weights is not None
    assert strategy._weights.tolist() == [0.75, 1.5, 1, 1]
