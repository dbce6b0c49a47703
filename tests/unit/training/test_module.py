"""The training step: log-probabilities where labels are, and gradients over a whole optimizer step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from tests.unit.training import small
from tuneforge.adapter.lora import Init, Lora
from tuneforge.errors import TuneForgeError
from tuneforge.rows import Encoded, Loss
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.sft import Sft
from tuneforge.training.batches.collate import collate
from tuneforge.training.fit import fit
from tuneforge.training.loss import likelihood


def adapted(model, **fields):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    made = get_peft_model(model, LoraConfig(r=4, init_lora_weights=False, task_type="CAUSAL_LM", **fields))
    return made.train()


MODELS = {
    "llama": lambda: small.llama(tie=False),
    "llama, tied": lambda: small.llama(tie=True),
    "gpt2": lambda: small.gpt2().eval(),
    "lora": lambda: adapted(small.llama(), target_modules="all-linear"),
    "lora on the head": lambda: adapted(small.llama(tie=False), target_modules=["q_proj", "lm_head"]),
    "whole head beside lora": lambda: adapted(
        small.llama(tie=False), target_modules=["q_proj"], modules_to_save=["lm_head"]
    ),
}  # fmt: skip


def by_full_logits(model, batch):
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    targets = batch["labels"][:, 1:]
    scores = logits[:, :-1].float().log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (scores * (targets != -100)).sum(1), (targets != -100).sum(1)


def gradients(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's call
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_head_at_labels_equals_full_logits(make):
    model = make()
    parts, why = likelihood.proved_parts(model)
    assert parts is not None, why
    batch = collate(small.rows(5), 0)
    want, counts = by_full_logits(model, batch)
    want.sum().backward()
    expected = gradients(model)
    model.zero_grad()
    got, count = likelihood.log_probs(model, parts, batch)
    got.sum().backward()
    assert count.tolist() == counts.tolist()
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-6)
    found = gradients(model)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4)


def test_chunks_give_the_same_numbers_and_gradients(monkeypatch):
    results = []
    for largest in (2**24, 7 * small.VOCABULARY):
        monkeypatch.setattr(likelihood, "LARGEST", largest)
        model = small.llama()
        sums, _ = likelihood.log_probs(model, likelihood.find_parts(model), collate(small.rows(6), 0))
        sums.sum().backward()
        results.append((sums.detach(), gradients(model)))
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-5)


def test_a_model_that_caps_its_logits_falls_back_to_them():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=small.VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, final_logit_softcapping=0.05, pad_token_id=0, bos_token_id=1,
        eos_token_id=1,
    )  # fmt: skip
    model = Gemma2ForCausalLM(config).eval()
    parts, why = likelihood.proved_parts(model)
    assert parts is None
    assert "differs from its logits" in why
    batch = collate(small.rows(3), 0)
    torch.testing.assert_close(likelihood.log_probs(model, None, batch)[0], by_full_logits(model, batch)[0])


def test_proving_the_head_changes_neither_modes_nor_generators():
    model = small.llama(dropout=0.5)
    model.train()
    model.model.layers[0].eval()
    before = torch.get_rng_state()
    likelihood.proved_parts(model)
    assert model.training
    assert not model.model.layers[0].training
    assert torch.equal(before, torch.get_rng_state())


def test_rows_without_labels_count_nothing():
    model = small.llama()
    batch = collate([Encoded({"input_ids": [5, 6, 7], "labels": [-100] * 3})], 0)
    sums, counts = likelihood.log_probs(model, likelihood.find_parts(model), batch)
    assert (sums.tolist(), counts.tolist()) == ([0.0], [0])


@pytest.mark.parametrize("strategy", [Sft(), Dpo()], ids=["sft", "dpo"])
def test_a_step_does_not_depend_on_how_it_is_cut(tmp_path, strategy):
    """8 x 1, 1 x 8 and 2 x 4 with clipping and a short last step."""
    items = small.pairs(20) if strategy.reference else small.rows(20)
    results = []
    for size in (8, 1, 2):
        run = small.settings(
            strategy, batch__size=size, batch__global_size=8, trainer__max_epochs=2, optimizer__learning_rate=1e-3,
            trainer__gradient_clip_val=0.5, scheduler__warmup=0,
        )  # fmt: skip
        folder = tmp_path / str(size)
        fitted = fit(run, small.loaded(small.llama()), small.encoded(items), None, False, small.context(run, folder))
        assert fitted.steps == 6
        results.append(([h["loss"] for h in fitted.history], [h["grad_norm"] for h in fitted.history]))
    for losses, norms in results[1:]:
        assert losses == pytest.approx(results[0][0], abs=2e-6)
        assert norms == pytest.approx(results[0][1], rel=1e-4)


def test_loss_and_gradient_are_means_over_all_items_of_the_step(tmp_path):
    """Against one plain forward pass over everything; micro-batches carry very different numbers of items."""
    items = small.rows(8)
    run = small.settings(batch__size=2, batch__global_size=8, trainer__max_epochs=1, trainer__gradient_clip_val=None)
    model = small.llama()
    sums, counts = by_full_logits(model, collate(items, 0))
    loss = -sums.sum() / counts.sum()
    loss.backward()
    norm = float(torch.nn.utils.get_total_norm(gradients(model).values()))
    fitted = fit(run, small.loaded(small.llama()), small.encoded(items), None, False, small.context(run, tmp_path))
    assert fitted.history[0]["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert fitted.history[0]["grad_norm"] == pytest.approx(norm, rel=1e-5)


def test_a_window_without_items_is_left_out_and_counted(tmp_path):
    empty = [Encoded({"input_ids": [5, 6, 7], "labels": [-100] * 3}) for _ in range(4)]
    run = small.settings(batch__size=4, trainer__max_epochs=1, scheduler__warmup=0, optimizer__weight_decay=0.5)
    fitted = {}
    for name, items in (("with", [*empty, *small.rows(4)]), ("without", small.rows(4))):
        run.trainer.max_steps = len(items) // 4
        context = small.context(run, tmp_path / name)
        data = small.encoded(items)
        fitted[name] = fit(run, small.loaded(small.llama()), data, None, False, context, order=lambda e: range(8))
    assert (fitted["with"].steps, fitted["with"].skipped_windows) == (2, 1)
    assert math.isnan(fitted["with"].history[0]["loss"])
    assert fitted["with"].history[1]["loss"] == fitted["without"].history[0]["loss"]


@dataclass(kw_only=True)
class Broken(Sft):
    """Gives NaN for rows that hold the token 96."""

    def loss(self, model, batch, step):
        loss = super().loss(model, batch, step)
        bad = (batch["input_ids"] == 96).any()
        return Loss(torch.where(bad, float("nan"), 1.0) * loss.total, loss.items)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_rows(tmp_path):
    items = [Encoded({"input_ids": [5, 6, 7 + i], "labels": [5, 6, 7 + i]}) for i in range(16)]
    items[9] = Encoded({"input_ids": [5, 96, 7], "labels": [5, 96, 7]})
    run = small.settings(Broken(), batch__size=2, batch__global_size=4, trainer__max_epochs=1, checkpoint__every=1)
    context = small.context(run, tmp_path)
    with pytest.raises(
        TuneForgeError, match=r"step 3 is nan; rows train\.jsonl:9, train\.jsonl:10\. Nothing .* step 2"
    ):
        fit(run, small.loaded(small.llama()), small.encoded(items), None, False, context, order=lambda e: range(16))
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-00000001", "step-00000002"]


def test_reference_of_full_training_is_the_model_as_found(tmp_path):
    """Precomputed for `full`, adapter off for `lora`: the first loss is ln 2 either way, later ones are not."""
    for name, adapter in (("full", None), ("lora", Lora(r=4)), ("pissa", Lora(r=4, init=Init.pissa))):
        run = small.settings(Dpo(), adapter, batch__size=4, trainer__max_epochs=1, scheduler__warmup=0)
        context = small.context(run, tmp_path / name)
        fitted = fit(run, small.loaded(small.llama(dropout=0.0)), small.encoded(small.pairs(12)), None, False, context)
        losses = [h["loss"] for h in fitted.history]
        assert losses[0] == pytest.approx(math.log(2), abs=1e-4), name
        assert abs(losses[-1] - math.log(2)) > 1e-5, name
        assert "rewards/margins" in fitted.history[-1]
