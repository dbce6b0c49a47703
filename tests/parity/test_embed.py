"""Masked modelling, contrast and distillation against the losses of other libraries, over 12 optimizer steps."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training import bert, small
from tuneforge.rows import Loaded, Row
from tuneforge.training.text.encode import EncodedSet

STEPS, SIZE = 12, 8
EPS = 1e-4
"""Adam's: what is nothing but rounding in a gradient, which differs by processor, stays nothing in the step."""
pytestmark = pytest.mark.filterwarnings("ignore")  # of the other libraries


def trained(strategy: Any, loaded: Loaded, rows: list[dict[str, str]], folder: Path) -> Any:
    """Our training on the rows in their own order, and the encodings."""
    from tuneforge.training.fit import fit

    run = small.settings(
        strategy, batch__size=SIZE, trainer__max_steps=STEPS, optimizer__learning_rate=1e-3,
        optimizer__weight_decay=0.0, optimizer__eps=EPS, scheduler__warmup=0, trainer__gradient_clip_val=None,
    )  # fmt: skip
    context = small.context(run, folder)
    encoded = list(strategy.encode([Row(columns=r) for r in rows], loaded.tokenizer, context))
    made = EncodedSet(rows=encoded, sources=[Row(columns=r) for r in rows], max_length=64)
    fitted = fit(run, loaded, made, None, False, context, order=lambda epoch: list(range(len(rows))))
    return fitted, encoded


def oracle(model: Any, loss: Any, batches: list[Any]) -> list[float]:
    """Losses of a bare loop with the same optimizer and schedule."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, eps=EPS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    found = []
    for batch in batches:
        value = loss(batch)
        value.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        found.append(float(value))
    return found


def agree(fitted: Any, wanted: list[float], theirs: Any) -> None:
    got = [line["loss"] for line in fitted.history]
    assert len(got) == len(wanted) == STEPS
    print(f"largest difference of a loss: {max(abs(a - b) for a, b in zip(got, wanted, strict=True)):.1e}")
    assert got == pytest.approx(wanted, abs=1e-5)
    assert max(wanted) - min(wanted) > 0.01, "nothing was learnt that could have differed"
    ours = dict(fitted.model.named_parameters())
    apart = {name: float((ours[name] - p).detach().abs().max()) for name, p in theirs.named_parameters()}
    print(f"largest difference of a weight: {max(apart.values()):.1e}")
    assert {name: gap for name, gap in apart.items() if gap > 1e-5} == {}


def windows(rows: list[Any]) -> list[list[Any]]:
    return [rows[i * SIZE : (i + 1) * SIZE] for i in range(STEPS)]


def test_mlm_equals_transformers(tmp_path: Path) -> None:
    from tuneforge.strategy.mlm import Mlm
    from tuneforge.training.batches.collate import collate
    from tuneforge.training.loss.masking import Mask, hide
    from tuneforge.training.random_state import seed_of, streams

    draw, tokenizer = random.Random(0), bert.tokenizer()
    rows = [{"text": bert.sentence(draw, 3, 40)} for _ in range(STEPS * SIZE)]
    fitted, encoded = trained(Mlm(), Loaded(bert.bert(), tokenizer), rows, tmp_path)
    theirs = bert.bert()

    def loss(batch: Any) -> Any:
        places = [(at // SIZE, 1, at) for row in batch for at, other in enumerate(encoded) if other is row]
        batch = collate(batch, 0)
        masks = streams([seed_of(0, 1, *place) for place in places])
        ids, labels = hide(batch, Mask(0.15, 4, len(tokenizer)), streams=masks)
        return theirs(input_ids=ids, attention_mask=batch["attention_mask"], labels=labels).loss

    agree(fitted, oracle(theirs, loss, windows(encoded)), theirs)


def scores(features: Any) -> dict[str, Any]:
    return {k: features[k] for k in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("symmetric", [False, True], ids=["one way", "symmetric"])
@pytest.mark.parametrize(("pooling", "mode"), [("mean", "mean"), ("cls", "cls"), ("last", "lasttoken")])
def test_contrastive_equals_sentence_transformers(tmp_path: Path, pooling: str, mode: str, symmetric: bool) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import Pooling as TheirPooling
    from sentence_transformers.sentence_transformer.modules import Transformer

    from tuneforge.strategy.contrastive import Contrastive, Pooling

    draw = random.Random(0)
    rows = [{part: bert.sentence(draw) for part in ("anchor", "positive", "negative")} for _ in range(STEPS * SIZE)]
    folder = bert.saved(tmp_path / "bert", "BertModel")
    strategy = Contrastive(temperature=0.1, pooling=Pooling(pooling), symmetric=symmetric)
    fitted, _ = trained(strategy, Loaded(bert.bert("BertModel"), bert.tokenizer()), rows, tmp_path)
    theirs = SentenceTransformer(modules=[Transformer(str(folder)), TheirPooling(32, mode)], device="cpu")
    more = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"} if symmetric else {}
    measure = MultipleNegativesRankingLoss(theirs, scale=10.0, **more)

    def loss(batch: Any) -> Any:
        return measure([theirs.preprocess([r[p] for r in batch]) for p in ("anchor", "positive", "negative")], None)

    agree(fitted, oracle(theirs, loss, windows(rows)), theirs[0].auto_model)


@pytest.mark.parametrize(
    ("divergence", "beta"), [("forward_kl", 0.0), ("reverse_kl", 1.0), ("jsd", 0.3)]
)  # fmt: skip
@pytest.mark.parametrize("packing", [False, True], ids=["rows", "packed"])
def test_distill_equals_trl(tmp_path: Path, monkeypatch: Any, divergence: str, beta: float, packing: bool) -> None:
    from trl.experimental.gkd import GKDTrainer

    from tuneforge.strategy.distill import Distill, Divergence
    from tuneforge.training.batches.collate import collate, collate_packed
    from tuneforge.training.fit import fit
    from tuneforge.training.loss import distillation

    monkeypatch.setattr(distillation, "LARGEST", 50 * 100)  # several chunks per batch
    teacher = small.llama(seed=1, hidden_size=48, vocabulary=107, tie=False).eval()
    with torch.no_grad():
        teacher.lm_head.weight.mul_(30)  # probabilities that can be told from uniform ones
    teacher.save_pretrained(tmp_path / "teacher")
    bert.tokenizer().save_pretrained(tmp_path / "teacher")
    strategy = Distill(
        teacher=str(tmp_path / "teacher"), divergence=Divergence(divergence), beta=beta or 0.5, temperature=2.0
    )
    rows = small.rows(STEPS * SIZE * (6 if packing else 1))
    run = small.settings(
        strategy, batch__size=SIZE, trainer__max_steps=STEPS, optimizer__learning_rate=1e-3,
        optimizer__weight_decay=0.0, optimizer__eps=EPS, scheduler__warmup=0, trainer__gradient_clip_val=None,
    )  # fmt: skip
    made = small.encoded(rows)
    made.max_length = 64
    loaded, order = Loaded(small.llama(vocabulary=100), bert.tokenizer()), range(STEPS * SIZE)
    fitted = fit(run, loaded, made, None, packing, small.context(run, tmp_path), order=lambda epoch: order)
    theirs = small.llama(vocabulary=100)
    if packing:
        from tuneforge.training.batches.packing import pack

        units = [[rows[i] for i in unit] for unit in pack([len(row.parts["input_ids"]) for row in rows], 64)]
        batches = [
            collate_packed(u, 0, max(sum(len(r.parts["input_ids"]) for r in p) for p in u)) for u in windows(units)
        ]
    else:
        batches = [collate(u, 0) for u in windows(rows)]

    def loss(batch: Any) -> Any:
        labels = batch["labels"][:, 1:]
        fields = {k: v for k, v in batch.items() if k != "labels"}
        with torch.no_grad():
            known = teacher(**fields, use_cache=False).logits[:, :-1, :100]
        ours = theirs(**fields, use_cache=False).logits[:, :-1]
        items = (labels != -100).sum()
        found = GKDTrainer.generalized_jsd_loss(ours, known, labels, beta, 2.0, num_items_in_batch=items)
        return 4 * found  # Hinton's square of the temperature, which TRL leaves out

    agree(fitted, oracle(theirs, loss, batches), theirs)
