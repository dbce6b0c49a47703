"""Models with a head: losses and weights equal a loop over transformers' own losses; metrics equal the oracles'."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.training import small
from tuneforge.rows import Encoded
from tuneforge.scheduler.constant import Constant
from tuneforge.strategy.classification import Classification
from tuneforge.strategy.token_classification import TokenClassification

STEPS, ROWS, RATE, CLASSES = 12, 8, 1e-3, 5


def texts(draw: random.Random, n: int) -> list[list[int]]:
    return [[draw.randrange(2, small.VOCABULARY) for _ in range(draw.randint(3, 20))] for _ in range(n)]


def single(n: int) -> list[Encoded]:
    draw = random.Random(1)
    return [Encoded({"input_ids": ids, "class": [draw.randrange(CLASSES)]}) for ids in texts(draw, n)]


def several(n: int) -> list[Encoded]:
    draw = random.Random(2)
    return [Encoded({"input_ids": i, "class": [draw.randint(0, 1) for _ in range(CLASSES)]}) for i in texts(draw, n)]


def tagged(n: int) -> list[Encoded]:
    """Rows with very different numbers of tagged tokens, so that a mean of means is not the mean."""
    draw = random.Random(3)
    return [
        Encoded({"input_ids": ids, "tags": [draw.choice((-100, draw.randrange(CLASSES))) for _ in ids]})
        for ids in texts(draw, n)
    ]


def llama(head: str, problem: str | None = None) -> Any:
    from transformers import LlamaConfig, LlamaForSequenceClassification, LlamaForTokenClassification

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=small.VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=None, eos_token_id=1,
        num_labels=CLASSES, problem_type=problem, classifier_dropout=0.0,
    )  # fmt: skip
    return (LlamaForSequenceClassification if head == "sequence" else LlamaForTokenClassification)(config)


def bert(head: str, problem: str | None = None) -> Any:
    from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=small.VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, pad_token_id=0, num_labels=CLASSES, problem_type=problem, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return (BertForSequenceClassification if head == "sequence" else BertForTokenClassification)(config)


def theirs(model: Any, rows: list[Encoded], name: str, smoothing: float = 0.0) -> list[float]:
    """Losses of a plain loop over `model(..., labels=...).loss`, one batch of ROWS per step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    model.train()
    losses = []
    for step in range(STEPS):
        chosen = rows[step * ROWS : (step + 1) * ROWS]
        width = max(len(row.parts["input_ids"]) for row in chosen)
        ids = torch.tensor([[*r.parts["input_ids"], *[0] * (width - len(r.parts["input_ids"]))] for r in chosen])
        mask = torch.tensor([[int(i < len(r.parts["input_ids"])) for i in range(width)] for r in chosen])
        labels: Any = [list(row.parts[name]) for row in chosen]
        if name == "tags":
            labels = torch.tensor([[*one, *[-100] * (width - len(one))] for one in labels])
        elif model.config.problem_type == "multi_label_classification":
            labels = torch.tensor(labels).float()
        else:
            labels = torch.tensor(labels)[:, 0]
        out = model(input_ids=ids, attention_mask=mask, labels=labels)
        loss = out.loss
        if smoothing:
            loss = torch.nn.functional.cross_entropy(out.logits, labels, label_smoothing=smoothing)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


CASES = {
    "one class": ("sequence", "single_label_classification", single, Classification(), "class"),
    "smoothed": ("sequence", "single_label_classification", single, Classification(label_smoothing=0.2), "class"),
    "several classes": ("sequence", "multi_label_classification", several, Classification(multi_label=True), "class"),
    "tags": ("token", None, tagged, TokenClassification(), "tags"),
}


@pytest.mark.parametrize("size", [ROWS, 2])
@pytest.mark.parametrize("build", [llama, bert])
@pytest.mark.parametrize("case", CASES)
def test_training_equals_transformers_own_loss(case: str, build: Any, size: int, tmp_path: Path) -> None:
    from tuneforge.training.fit import fit

    head, problem, make, strategy, name = CASES[case]
    rows = make(STEPS * ROWS)
    reference, mine = build(head, problem), build(head, problem)
    wanted = theirs(reference, rows, name, getattr(strategy, "label_smoothing", 0.0))
    run = small.settings(
        strategy, batch__size=size, batch__global_size=ROWS, trainer__max_steps=STEPS, trainer__max_epochs=None,
        trainer__gradient_clip_val=None, optimizer__learning_rate=RATE, optimizer__weight_decay=0.0,
    )  # fmt: skip
    run.scheduler = Constant(warmup=0.0)
    order = lambda epoch: range(len(rows))  # noqa: E731
    fitted = fit(run, small.loaded(mine), small.encoded(rows), None, False, small.context(run, tmp_path), order=order)
    losses = [line["loss"] for line in fitted.history]
    assert losses == pytest.approx(wanted, abs=1e-5)
    pairs = zip(reference.parameters(), mine.parameters(), strict=True)
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-4
    assert max(wanted) - min(wanted) > 0.005, "nothing was learnt that could have differed"


@pytest.mark.parametrize("several_classes", [False, True])
def test_metrics_equal_scikit_learns(several_classes: bool) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    from tests.unit.evaluation.heads import Fixed, labelled, settings
    from tuneforge.evaluator.classification import Classification as Evaluator

    draw = np.random.default_rng(4)
    names = [f"c{i:02}" for i in range(60)]
    if several_classes:
        true = draw.random((300, 60)) < 0.03
        guessed = np.where(draw.random((300, 60)) < 0.6, true, draw.random((300, 60)) < 0.05)
        rows = labelled([[n for n, t in zip(names, one, strict=True) if t] for one in true])
        probabilities = np.where(guessed, 0.9, 0.1)
    else:
        # Classes 50 to 59 never stand in the rows, some are predicted; others are neither.
        true = draw.integers(0, 50, 300)
        guessed = np.where(draw.random(300) < 0.6, true, draw.integers(0, 55, 300))
        rows = labelled([names[i] for i in true])
        probabilities = np.full((300, 60), 0.001)
        probabilities[np.arange(300), guessed] = 0.9
    evaluator = Evaluator()
    stats = list(evaluator.measure(Fixed(predict=probabilities), rows, settings(names)))
    found = evaluator.aggregate({k: np.array([s[k] for s in stats]) for k in stats[0]})
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(true, guessed))
    for average in ("macro", "micro"):
        labels = sorted({*np.unique(true), *np.unique(guessed)}) if not several_classes else None
        kept = [i for i in range(60) if true[:, i].any() or guessed[:, i].any()] if several_classes else labels
        wanted = metrics.f1_score(true, guessed, average=average, labels=kept, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(wanted), average


TAGS = ["O", "O", "B-x", "I-x", "B-y", "I-y", "E-x", "S-y"]


@pytest.mark.parametrize("reading", ["lenient", "strict"])
def test_entities_equal_seqevals(reading: str) -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    from tests.unit.evaluation.heads import Fixed, settings, tagged_rows
    from tuneforge.evaluator.span_f1 import Reading, SpanF1

    draw = random.Random(5)
    tags = TAGS[:6] if reading == "strict" else TAGS
    true = [[draw.choice(tags) for _ in range(draw.randint(1, 12))] for _ in range(400)]
    guessed = [[t if draw.random() < 0.7 else draw.choice(tags) for t in one] for one in true]
    evaluator = SpanF1(reading=Reading(reading))
    stats = list(evaluator.measure(Fixed(tag=guessed), tagged_rows(true), settings(sorted(set(tags)))))
    found = evaluator.aggregate({k: np.array([s[k] for s in stats]) for k in stats[0]})
    how: dict[str, Any] = {}
    if reading == "strict":
        from seqeval.scheme import IOB2

        how = {"mode": "strict", "scheme": IOB2}
    assert found["f1"] == pytest.approx(metrics.f1_score(true, guessed, **how))
    assert found["precision"] == pytest.approx(metrics.precision_score(true, guessed, **how))
    assert found["recall"] == pytest.approx(metrics.recall_score(true, guessed, **how))
    assert 0.1 < found["f1"] < 0.9


@pytest.mark.shared
def test_entities_of_real_rows_equal_seqevals(shared: Path) -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    from tests.unit.evaluation.heads import settings, tagged_rows
    from tuneforge.evaluation.naive import Lexicon
    from tuneforge.evaluator.span_f1 import SpanF1
    from tuneforge.evaluator.tag_accuracy import TagAccuracy

    train, test = (conll(shared / "data" / "wnut17_ner" / f) for f in ("wnut17train.conll", "emerging.dev.conll"))
    lexicon = Lexicon(tagged_rows([t for _, t in train], [w for w, _ in train]))
    rows = tagged_rows([t for _, t in test], [w for w, _ in test])
    true, guessed = [t for _, t in test], lexicon.tag(rows)
    for evaluator, wanted in (
        (SpanF1(), metrics.f1_score(true, guessed)),
        (TagAccuracy(), metrics.accuracy_score(true, guessed)),
    ):
        stats = list(evaluator.measure(lexicon, rows, settings([])))
        found = evaluator.aggregate({k: np.array([s[k] for s in stats]) for k in stats[0]})
        assert next(iter(found.values())) == pytest.approx(wanted)
        assert wanted > 0.02


def conll(path: Path) -> list[tuple[list[str], list[str]]]:
    found = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        pairs = [line.split("\t") for line in block.split("\n") if "\t" in line]
        if pairs:
            found.append(([w for w, _ in pairs], [t for _, t in pairs]))
    return found


def test_ranks_equal_scikit_learns_ndcg() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    from tests.unit.evaluation.heads import Fixed, pair_rows, settings
    from tuneforge.evaluator.retrieval import Retrieval

    draw = np.random.default_rng(6)
    rows = pair_rows([(f"q{i // 2}", f"a{i}") for i in range(40)])  # two right answers for each question
    asked, answered = draw.normal(size=(20, 8)), draw.normal(size=(40, 8))
    vectors = {f"q{i}": v for i, v in enumerate(asked)} | {f"a{i}": v for i, v in enumerate(answered)}
    stats = list(Retrieval().measure(Fixed(embed=vectors), rows, settings([])))

    scores = asked @ answered.T
    relevant = np.array([[int(j // 2 == i) for j in range(40)] for i in range(20)])
    wanted = metrics.ndcg_score(relevant, scores, k=10)
    assert np.mean([s["ndcg_at_10"] for s in stats]) == pytest.approx(wanted)
    best = [1 + int((scores[i] > scores[i, 2 * i : 2 * i + 2].max()).sum()) for i in range(20)]
    assert np.mean([s["mrr"] for s in stats]) == pytest.approx(np.mean([1 / b for b in best]))
    assert np.mean([s["accuracy_at_1"] for s in stats]) == pytest.approx(np.mean([b == 1 for b in best]))
