"""Label smoothing with the head only where a label is, against torch's cross_entropy over all logits."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.unit.training import small
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.instruction import Instruction
from tuneforge.strategy.sft import Sft
from tuneforge.training.batches.collate import collate
from tuneforge.training.fit import fit
from tuneforge.training.loss import likelihood


def lora_on_the_head():
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    config = LoraConfig(r=4, init_lora_weights=False, task_type="CAUSAL_LM", target_modules=["q_proj", "lm_head"])
    return get_peft_model(small.llama(tie=False), config)


def with_bias():
    model = small.llama(tie=False)
    model.lm_head = torch.nn.Linear(32, small.VOCABULARY)
    return model


MODELS = {
    "tied": small.llama, "bias": with_bias, "bfloat16": lambda: small.llama().bfloat16(), "lora": lora_on_the_head
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's call
@pytest.mark.parametrize("apart", [True, False], ids=["head at labels", "full logits"])
@pytest.mark.parametrize("large", [True, False], ids=["chunks", "whole"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_equals_torchs_cross_entropy(make, large, apart, monkeypatch):
    if large:
        monkeypatch.setattr(likelihood, "SMALL", 1)
        monkeypatch.setattr(likelihood, "LARGEST", 1)
        monkeypatch.setattr(likelihood, "FEWEST", 7)
    model = make().train()
    batch = collate(small.rows(6), 0)
    labels = batch["labels"][:, 1:].flatten()
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    want = cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels, label_smoothing=0.2, reduction="sum")
    want.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    total, count = likelihood.summed(model, likelihood.find_parts(model) if apart else None, batch, "", 0.2)
    (-total).backward()
    half = next(model.parameters()).dtype == torch.bfloat16
    loose, rel = ({"atol": 0.3, "rtol": 0.1}, 1e-3) if half else ({"atol": 2e-5, "rtol": 1e-4}, 1e-6)
    assert int(count) == int((labels != -100).sum())
    assert -float(total.detach()) == pytest.approx(float(want.detach()), rel=rel)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, expected[name], **loose)
    with torch.no_grad():
        again, _ = likelihood.summed(model, likelihood.find_parts(model), batch, "", 0.2)
    assert float(again) == pytest.approx(float(total.detach()), rel=rel)


@pytest.mark.parametrize("kind", [Clm, Sft, Instruction])
def test_strategies_train_with_it_and_refuse_what_is_no_share(kind, tmp_path):
    found = {}
    for share in (0.0, 0.1):
        run = small.settings(kind(label_smoothing=share), batch__size=8, trainer__max_epochs=1)
        data, held_out = small.encoded(small.rows(16)), small.encoded(small.rows(4, seed=1))
        context = small.context(run, tmp_path / str(share))
        found[share] = fit(run, small.loaded(small.llama()), data, held_out, False, context)
    assert found[0.1].history[0]["loss"] != found[0.0].history[0]["loss"]
    assert found[0.1].history[-1]["validation_loss"] != found[0.0].history[-1]["validation_loss"]
    assert list(kind(label_smoothing=1.0).check(run)) == ["strategy.label_smoothing=1.0 must be at least 0 and below 1"]
    assert list(kind(label_smoothing=0.1).check(run)) == []
