"""Contrast within a batch, and folders that sentence-transformers loads."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.training import bert, small
from tuneforge.rows import Encoded, Loaded, Rejected, Row
from tuneforge.strategy.contrastive import Contrastive, Pooling
from tuneforge.training.loss.embedding import Pool, contrast, pool_of_all


def pairs(n: int, negatives: bool = False) -> list[dict[str, str]]:
    draw = random.Random(2)
    names = ("anchor", "positive", "negative") if negatives else ("anchor", "positive")
    return [{name: bert.sentence(draw) for name in names} for _ in range(n)]


def encoded(strategy: Contrastive, rows: list[dict[str, str]]) -> list[Any]:
    return list(strategy.encode([Row(columns=r) for r in rows], bert.tokenizer(), None))  # type: ignore[arg-type]


def loss(strategy: Contrastive, rows: list[dict[str, str]], model: Any = None) -> Any:
    batch = strategy.collate(encoded(strategy, rows), 0)
    return strategy.loss(model or bert.bert("BertModel"), batch, SimpleNamespace(counts=True))  # type: ignore[arg-type]


def test_rows_become_parts_with_their_prefixes() -> None:
    strategy = Contrastive(anchor_prefix="w1 ", positive_prefix="w2 ")
    found = encoded(
        strategy, [{"anchor": "w5", "positive": "w6", "negative": "w7"}, {"anchor": "w5", "positive": "w6"}]
    )
    assert found[0].parts == {
        "anchor.input_ids": [2, 6, 10, 3], "positive.input_ids": [2, 7, 11, 3], "negative.input_ids": [2, 7, 12, 3],
    }  # fmt: skip
    assert set(found[1].parts) == {"anchor.input_ids", "positive.input_ids"}
    batch = strategy.collate(found, 0)
    assert [len(batch[f"{p}.input_ids"]) for p in ("anchor", "positive", "negative")] == [2, 2, 1]
    same = {"anchor": "w5", "positive": "w6", "negative": "w6"}
    (wrong,) = encoded(strategy, [same])
    assert isinstance(wrong, Rejected)
    assert wrong.reason == "positive and negative are the same"
    (misfit,) = encoded(strategy, [{"text": "w1"}])
    assert misfit.reason.startswith("needs an anchor and a positive, the row has text")


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_loss_equals_a_float64_reference(symmetric: bool) -> None:
    torch.manual_seed(0)
    a, c = torch.randn(3, 4), torch.randn(5, 4)
    absent = torch.tensor([False] * 5)
    same = torch.zeros(3, 5, dtype=torch.bool)
    same[0, 2] = same[2, 0] = same[2, 3] = True
    found = contrast(Pool(a, c, torch.arange(3), same, absent), 0.5, symmetric=symmetric)
    scores = (a.double().numpy() @ c.double().numpy().T) / 0.5
    e = np.where(same.numpy(), 0, np.exp(scores))
    wanted = -np.log(e[range(3), range(3)] / e.sum(1))
    if symmetric:
        wanted = (wanted - np.log(e[range(3), range(3)] / e[:, :3].sum(0))) / 2
    assert found.losses.tolist() == pytest.approx(wanted.tolist(), abs=1e-5)
    assert int(found.false_negatives) == 3


def test_other_right_answers_are_left_out_and_counted() -> None:
    rows = [
        {"anchor": "w1", "positive": "w11", "negative": "w12"},
        {"anchor": "w2", "positive": "w11 w11"},
        {"anchor": "w1", "positive": "w13"},  # the same anchor as the first
        {"anchor": "w3", "positive": "w12"},  # what is wrong for the first is right here
        {"anchor": "w4", "positive": "w11"},  # the same answer as the first
    ]
    strategy = Contrastive()
    batch = strategy.collate(encoded(strategy, rows), 0)
    wanted = torch.zeros(5, 6, dtype=torch.bool)
    for i, j in ((0, 2), (2, 0), (0, 4), (4, 0), (3, 5)):
        wanted[i, j] = True
    embeddings = {part: torch.zeros(len(batch[f"{part}.input_ids"]), 1) for part in ("anchor", "positive", "negative")}
    assert torch.equal(pool_of_all(embeddings, batch).same, wanted)
    found = loss(strategy, rows)
    assert (float(found.logs["false_negatives"]), found.items) == (5, 5)
    assert torch.isfinite(found.total)


@pytest.mark.parametrize("pooling", list(Pooling))
def test_chunks_give_the_gradient_of_the_whole_batch(pooling: Pooling) -> None:
    found = []
    for chunk in (None, 3):
        model = bert.bert("BertModel")
        value = loss(Contrastive(pooling=pooling, chunk=chunk), pairs(8, negatives=True), model)
        value.total.backward()
        found.append([value.total.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(*found, strict=True))


def test_a_cut_step_changes_the_objective_and_is_refused(tmp_path: Path) -> None:
    loaded = Loaded(bert.bert("BertModel"), bert.tokenizer())

    def reasons(strategy: Contrastive, model: Any = None, **more: Any) -> list[str]:
        run = small.settings(strategy, **more)
        return list(strategy.fits(loaded._replace(model=model or loaded.model), small.context(run, tmp_path)))

    assert reasons(Contrastive(), batch__size=8, batch__global_size=8) == []
    (reason,) = reasons(Contrastive(), batch__size=2, batch__global_size=8)
    assert "batch.global_size=8 would cut a step into forward passes of batch.size=2" in reason
    assert "strategy.chunk" in reason
    causal = small.llama().model
    assert reasons(Contrastive(pooling=Pooling.last), causal) == []
    (reason,) = reasons(Contrastive(pooling=Pooling.cls), causal)
    assert reason.startswith("pooling=cls: the first token of a causal model sees no other")
    run = small.settings(Contrastive(temperature=0, chunk=0), batch__size=1)
    assert [r.split(" ")[0] for r in run.strategy.check(run)] == [
        "strategy.temperature=0", "strategy.chunk=0", "batch.size=1",
    ]  # fmt: skip


def theirs(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def ours(strategy: Contrastive, model: Any, texts: list[str]) -> Any:
    ids = [bert.tokenizer()(text)["input_ids"] for text in texts]
    batch = strategy.collate([Encoded({"anchor.input_ids": row}) for row in ids], 0)
    with torch.no_grad():
        return strategy.embed(model.eval(), batch, "anchor").numpy()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of sentence-transformers' own imports
@pytest.mark.parametrize(("pooling", "normalise"), [("mean", True), ("cls", False), ("last", True)])
@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_the_saved_folder_is_one_of_sentence_transformers(
    tmp_path: Path, pooling: str, normalise: bool, adapter: str
) -> None:
    from tuneforge.adapter.full import Full
    from tuneforge.adapter.lora import Lora
    from tuneforge.saving import save_model

    strategy = Contrastive(
        pooling=Pooling(pooling), normalise=normalise, anchor_prefix="w1 w2 ", positive_prefix="w3 ", temperature=0.1
    )
    bert.saved(tmp_path / "base", "BertModel")
    run = small.settings(strategy, Full() if adapter == "full" else Lora(r=4))
    from transformers import AutoModel

    model = run.adapter.apply(AutoModel.from_pretrained(tmp_path / "base"), small.context(run, tmp_path))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    save_model(run, Loaded(model, bert.tokenizer()), tmp_path / "model")
    texts = [r["anchor"] for r in pairs(9)]
    loaded = theirs(tmp_path / "model")
    assert np.abs(loaded.encode(texts) - ours(strategy, model, texts)).max() < 1e-5
    for method, prefix in ((loaded.encode_query, "w1 w2 "), (loaded.encode_document, "w3 ")):
        assert np.abs(method(texts) - ours(strategy, model, [prefix + t for t in texts])).max() < 1e-5
    assert loaded.similarity_fn_name == ("cosine" if normalise else "dot")
    assert not np.allclose(theirs(tmp_path / "base").encode(texts), loaded.encode(texts), atol=1e-2)


def test_training_tells_pairs_apart(tmp_path: Path) -> None:
    from tuneforge.training.fit import fit
    from tuneforge.training.text.encode import EncodedSet

    draw = random.Random(0)
    words = [f"w{i}" for i in range(48)]
    rows = [{"anchor": f"{w} {bert.sentence(draw, 1, 2)}", "positive": f"w{int(w[1:]) + 47}"} for w in words]
    strategy = Contrastive()
    run = small.settings(strategy, batch__size=16, trainer__max_epochs=16, optimizer__learning_rate=3e-3)
    made = EncodedSet(rows=encoded(strategy, rows), sources=[Row(columns=r) for r in rows], max_length=64)
    loaded = Loaded(bert.bert("BertModel", dropout=0.0), bert.tokenizer())
    fitted = fit(run, loaded, made, None, False, small.context(run, tmp_path))
    assert fitted.history[-1]["in_batch_accuracy"] > 0.9 > 0.3 > fitted.history[0]["in_batch_accuracy"]
    assert fitted.loss_tokens == 48 * 16
    assert {"false_negatives", "in_batch_accuracy"} <= fitted.history[0].keys()
