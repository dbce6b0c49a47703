"""The linear probe against scikit-learn on features computed by hand, and who is chosen."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.evaluation import heads, subjects
from tests.unit.training import bert
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.evaluation import probe
from tuneforge.evaluation.contenders import contenders
from tuneforge.evaluation.heads import HeadLM
from tuneforge.evaluation.measure import measure
from tuneforge.evaluation.tidy import rows as tidy
from tuneforge.evaluator.classification import Classification
from tuneforge.evaluator.reward_accuracy import RewardAccuracy
from tuneforge.model.tiny import Tiny
from tuneforge.rows import Loaded, Row
from tuneforge.strategy.reward import Reward


@pytest.fixture(scope="module")
def banking(shared: Path) -> list[Row]:
    with (shared / "data" / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        found = [row for row in islice(csv.DictReader(file), 0, None, 5) if len(row["text"]) < 120][:160]
    return heads.labelled([row["category"] for row in found], [row["text"] for row in found])


def tiny(rows: list[Row]) -> tuple[RunContext, Loaded]:
    context = heads.settings(sorted({row.columns["label"] for row in rows}))
    return context, Tiny().load("sequence_classification", context)


def states(loaded: Loaded, rows: list[Row], pooling: str) -> Any:
    """One text at a time, by transformers alone."""
    found = []
    for row in rows:
        ids = loaded.tokenizer(row.columns["text"], return_tensors="pt").input_ids
        with torch.no_grad():
            last = loaded.model.model(input_ids=ids).last_hidden_state[0]
        found.append((last.mean(0) if pooling == "mean" else last[-1]).numpy())
    return np.stack(found)


@pytest.mark.shared
def test_the_probe_is_scikit_learns_on_the_models_own_states(banking: list[Row]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    context, loaded = tiny(banking)
    train, test = banking[::2], banking[1::2]
    found = probe.probes(context.run, HeadLM("linear_probe", loaded, context), train)
    assert list(found) == ["linear probe (mean)", "linear probe (last)"]
    for pooling in ("mean", "last"):
        one = found[f"linear probe ({pooling})"]
        fitted, asked = (one.features.of(rows, pooling) for rows in (train, test))
        assert asked == pytest.approx(states(loaded, test, pooling), abs=1e-4)
        by_hand = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        by_hand.fit(fitted, [row.columns["label"] for row in train])
        known = [context.labels.index(name) for name in by_hand.classes_]
        shares = one.predict(test)
        assert shares[:, known] == pytest.approx(by_hand.predict_proba(asked), abs=1e-12)
        assert shares.sum(1) == pytest.approx(np.ones(len(test)), abs=1e-6)


@pytest.mark.shared
def test_the_best_on_validation_rows_has_to_be_beaten(banking: list[Row]) -> None:
    rows = [row for row in banking if row.columns["label"] in ("card_arrival", "card_linking", "exchange_rate")]
    context, loaded = tiny(rows)
    train, held = rows[::2], subjects.held(rows[1::2], split="validation")
    found, choice = contenders(context.run, loaded, {"c": Classification()}, [held], train, context)
    assert list(choice.scores) == ["majority", "label likelihood", "linear probe (mean)", "linear probe (last)"]
    assert list(found) == [choice.lm.variant] == ["linear_probe"]
    assert choice.scores[choice.name] == max(choice.scores.values()) > choice.scores["majority"]
    assert not context.notes
    alone, fixed = contenders(context.run, loaded, {"c": Classification()}, [], train, context)
    assert (list(alone), fixed.scores) == (["linear_probe"], {})
    assert context.notes[-1]["text"].startswith("no validation rows to choose a baseline on, so linear probe (mean)")


def test_several_classes_are_decided_each_by_itself() -> None:
    draw = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in draw.integers(0, 20, 4)) for _ in range(80)]
    labels = [[name for name, word in (("one", "w1"), ("two", "w2")) if word in text.split()] for text in texts]
    rows = heads.labelled(labels, texts)
    context = heads.settings(["absent", "one", "two"])
    context.run.strategy.multi_label = True  # type: ignore[attr-defined]
    context.run.strategy.__post_init__()  # type: ignore[attr-defined]
    loaded = Loaded(bert.bert("BertForSequenceClassification"), bert.tokenizer())
    found = probe.probes(context.run, HeadLM("linear_probe", loaded, context), rows)["linear probe (mean)"]
    shares = found.predict(rows)
    assert not shares[:, 0].any()
    right = [name in one.columns["label"] for one in rows for name in ("one", "two")]
    assert ((shares[:, 1:] > 0.5).ravel() == right).mean() > 0.9
    assert found.describe(rows) == {"training_rows": 80, "pooling": "mean"}


def test_what_cannot_be_had_is_left_out_with_the_reason(tmp_path: Path) -> None:
    rows = heads.labelled(["1", "2"] * 20, [f"w{i}" for i in range(40)])
    context = heads.settings(["1", "2"])
    loaded = Loaded(bert.bert("BertForSequenceClassification"), bert.tokenizer())
    held = [subjects.held(rows[:10], split="validation")]
    _, choice = contenders(context.run, loaded, {"c": Classification()}, held, rows, context)
    assert "label likelihood" not in choice.scores
    assert context.notes[0]["text"] == "baseline: label likelihood is left out: the class '1' is no word"
    with pytest.raises(ConfigError, match="fewer than two classes"):
        probe.probes(context.run, HeadLM("linear_probe", loaded, context), rows[::2])


def test_the_better_of_longer_and_prompt_has_to_be_beaten() -> None:
    context = heads.settings([], Reward())
    loaded = Tiny().load("reward", context)
    rows = [heads.made({"prompt": f"q{i}", "chosen": "x" * (5 + i), "rejected": "x"}, i) for i in range(12)]
    held = [subjects.held(rows[:6], split="validation"), subjects.held(rows[6:])]
    found, choice = contenders(context.run, loaded, {"r": RewardAccuracy()}, held, (), context)
    assert (list(found), list(choice.scores), choice.name) == (["longer"], ["longer", "A/B prompt"], "longer")
    short = [subjects.held([heads.made({**r.columns, "chosen": "x", "rejected": r.columns["chosen"]}, i)
                            for i, r in enumerate(rows)], split=split) for split in ("validation", "test")]  # fmt: skip
    found, choice = contenders(context.run, loaded, {"r": RewardAccuracy()}, short, (), context)
    assert choice.scores["longer"] == 0
    assert list(found) == [choice.lm.variant]
    if choice.name == "A/B prompt":
        measured = measure(context.run, found, short[1:], {"r": RewardAccuracy()}, context)
        lines = tidy(context.run, measured)
        assert {row["metric"] for row in lines} == {"reward_accuracy"}
        assert all(row["prompt"] for row in lines)
    context.run.gate.metric = "reward_margin"
    with pytest.raises(ConfigError, match=r"what it has to beat \(longer\) counts characters"):
        contenders(context.run, loaded, {"r": RewardAccuracy()}, held, (), context)
