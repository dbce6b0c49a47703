"""Masked language modelling: which tokens are hidden, and that their loss is whole."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training import bert, small
from tuneforge.errors import ConfigError
from tuneforge.rows import Encoded, Loaded, Row
from tuneforge.strategy.mlm import Mlm
from tuneforge.training.batches.collate import collate
from tuneforge.training.loss.masking import IGNORE, Mask, head_stands_alone, hide, log_probs
from tuneforge.training.text.encode import EncodedSet, encode

MASK = Mask(0.15, 4, 100)


def texts(n: int, low: int = 3, high: int = 30) -> list[Row]:
    draw = random.Random(1)
    return [Row(columns={"text": bert.sentence(draw, low, high)}) for _ in range(n)]


def encoded(rows: list[Row]) -> list[Any]:
    return list(Mlm().encode(rows, bert.tokenizer(), None))  # type: ignore[arg-type]


def test_special_tokens_are_never_masked_and_the_count_is_exact() -> None:
    rows = encoded([Row(columns={"text": "w1 strange w2"}), *texts(40)])
    assert [rows[0].parts["labels"][i] for i in (0, 2, 4)] == [IGNORE] * 3  # [CLS], [UNK], [SEP]
    batch = collate(rows, 0)
    ids, targets = hide(batch, MASK)
    assert (batch["input_ids"][targets != IGNORE] >= len(bert.SPECIAL)).all()
    assert (targets != IGNORE).sum(1).tolist() == [Mlm().loss_items(row) for row in rows]
    assert torch.equal(ids[targets == IGNORE], batch["input_ids"][targets == IGNORE])


def test_of_the_chosen_tokens_8_in_10_are_hidden_and_1_in_10_is_random() -> None:
    torch.manual_seed(0)
    batch = collate([Encoded({"input_ids": [50] * 4000, "labels": [50] * 4000})] * 10, 0)
    ids, targets = hide(batch, Mask(0.5, 4, 100))
    found = ids[targets != IGNORE]
    shares = [float(x.float().mean()) for x in (found == 4, found == 50)]
    assert len(found) == 20_000
    assert shares == pytest.approx([0.8 + 0.1 / 100, 0.1 + 0.1 / 100], abs=0.01)
    # Every place is as likely as any other.
    assert float((targets != IGNORE).float()[:, :2000].mean()) == pytest.approx(0.5, abs=0.02)


def test_a_fixed_mask_is_the_same_in_any_company_and_others_are_drawn_anew() -> None:
    rows = encoded(texts(6))
    alone = [hide(collate([row], 0), MASK, fixed=7) for row in rows]
    ids, targets = hide(collate(rows[::-1], 0), MASK, fixed=7)
    for i, (mine, wanted) in enumerate(alone):
        n = len(rows[i].parts["input_ids"])
        assert torch.equal(ids[5 - i, :n], mine[0])
        assert torch.equal(targets[5 - i, :n], wanted[0])
    assert not torch.equal(targets, hide(collate(rows[::-1], 0), MASK, fixed=8)[1])
    assert not torch.equal(hide(collate(rows, 0), MASK)[1], hide(collate(rows, 0), MASK)[1])


def test_draws_do_not_depend_on_how_a_step_is_cut() -> None:
    rows = encoded(texts(6))
    torch.manual_seed(3)
    whole = hide(collate(rows, 0), MASK)[1]
    torch.manual_seed(3)
    cut = [hide(collate([row], 0), MASK)[1][0] for row in rows]
    for row, targets in zip(whole, cut, strict=True):
        assert torch.equal(row[: len(targets)], targets)


@pytest.mark.parametrize("kind", ["BertForMaskedLM", "RobertaForMaskedLM", "DistilBertForMaskedLM"])
def test_the_head_at_masked_places_gives_the_same_gradients(kind: str) -> None:
    import transformers

    config = getattr(transformers, kind.replace("ForMaskedLM", "Config"))
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 64}
    if config is transformers.DistilBertConfig:
        sizes = {"dim": 32, "hidden_dim": 64, "n_heads": 4, "n_layers": 2}
    model = getattr(transformers, kind)(config(vocab_size=100, max_position_embeddings=70, **sizes)).eval()
    assert head_stands_alone(model)
    batch = collate(encoded(texts(4)), 0)
    ids, targets = hide(batch, MASK)
    gradients = []
    for whole in (True, False):
        model.zero_grad()
        if whole:
            loss = model(input_ids=ids, attention_mask=batch["attention_mask"], labels=targets).loss
        else:
            loss = -log_probs(model, ids, batch["attention_mask"], targets).mean()
        loss.backward()
        gradients.append([loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


class Odd(torch.nn.Module):
    """A head that looks at whole rows."""

    def __init__(self) -> None:
        super().__init__()
        self.base_model = torch.nn.Module()
        self.linear = torch.nn.Linear(3, 3)

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        from types import SimpleNamespace

        return SimpleNamespace(logits=self.linear(input_ids.unsqueeze(-1).expand(-1, -1, 3).float()))


def test_a_head_that_needs_whole_rows_is_given_them() -> None:
    model = Odd()
    assert not head_stands_alone(model)
    ids = torch.tensor([[1, 2, 3]])
    targets = torch.tensor([[IGNORE, 2, IGNORE]])
    found = log_probs(model, ids, torch.ones_like(ids), targets)
    assert torch.allclose(found, model(ids, None).logits[0, 1].log_softmax(-1)[2:3])


def test_long_texts_are_cut_between_special_tokens_and_nothing_is_lost(tmp_path: Path) -> None:
    run = small.settings(Mlm(), batch__max_length=20)
    run.model = type("Named", (), {"config": lambda self: {}})()
    rows = texts(5, 60, 90)
    found = encode(run, rows, bert.tokenizer(), small.context(run, tmp_path))
    assert found.chunked == 5
    bodies: dict[int, list[int]] = {}
    for row, source in zip(found.rows, found.sources, strict=True):
        ids, labels = list(row.parts["input_ids"]), list(row.parts["labels"])
        assert (ids[0], ids[-1], labels[0], labels[-1]) == (2, 3, IGNORE, IGNORE)
        assert 12 <= len(ids) <= 20
        assert labels[1:-1] == ids[1:-1]
        bodies.setdefault(id(source), []).extend(ids[1:-1])
    assert list(bodies.values()) == [bert.tokenizer()(r.columns["text"])["input_ids"][1:-1] for r in rows]
    with pytest.raises(ConfigError, match=r"batch.max_length=2: the tokenizer's special tokens .* fill it"):
        list(Mlm().chunks(encoded(rows[:1])[0], 2))


def fitted(folder: Path, size: int, whole: int, dropout: float = 0.0) -> Any:
    from tuneforge.training.fit import fit

    rows = texts(24)
    run = small.settings(Mlm(), batch__size=size, batch__global_size=whole, trainer__max_epochs=1)
    made = EncodedSet(rows=encoded(rows), sources=rows, max_length=64)
    watched = EncodedSet(rows=encoded(rows)[:5], sources=rows[:5], max_length=64)
    loaded = Loaded(bert.bert(dropout=dropout), bert.tokenizer())
    return fit(run, loaded, made, watched, False, small.context(run, folder))


def test_micro_batches_train_the_same_model_and_validation_is_the_same_twice(tmp_path: Path) -> None:
    one, eight = fitted(tmp_path / "a", 8, 8), fitted(tmp_path / "b", 1, 8)
    for a, b in zip(one.history, eight.history, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-6)
    assert one.history[-1]["validation_loss"] == pytest.approx(eight.history[-1]["validation_loss"], abs=1e-5)
    assert one.loss_tokens == eight.loss_tokens == sum(Mlm().loss_items(r) for r in encoded(texts(24)))


def test_what_cannot_be_masked_is_refused(tmp_path: Path, model_folder: Path) -> None:
    from tuneforge.model.hf import DType, Hf
    from tuneforge.model.tiny import Tiny

    run = small.settings(Mlm())
    context = small.context(run, tmp_path)
    assert list(Mlm().fits(Loaded(bert.bert(), bert.tokenizer()), context)) == []
    (reason,) = Mlm().fits(Loaded(bert.bert(), bert.tokenizer(mask=None)), context)
    assert reason.startswith("the tokenizer has no mask token")
    for model in (Hf(path=str(model_folder), dtype=DType.float32), Tiny()):
        with pytest.raises(ConfigError, match="a model of type 'llama' has no masked_lm head; it has causal_lm"):
            model.load("masked_lm", context)
    assert list(Mlm(probability=1.0).check(run)) == ["strategy.probability=1.0 must be between 0 and 1"]
    (found,) = encoded([Row(columns={"text": "strange"})])
    assert found.reason == "no token can be masked"
