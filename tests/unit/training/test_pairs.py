"""The prompt of a pair computed once: equal to two rows where it is taken, and refused, aloud, where it is not."""

from __future__ import annotations

import gc
import random
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training import small
from tuneforge.adapter.full import Full
from tuneforge.adapter.lora import Lora
from tuneforge.rows import Encoded, Loss
from tuneforge.strategy.cpo import Cpo
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.simpo import Simpo
from tuneforge.training.batches.collate import collate
from tuneforge.training.fit import fit
from tuneforge.training.loss import pairs
from tuneforge.training.step import TrainingStep

SIDES = ("chosen", "rejected")


def long_prompts(n: int, seed: int = 0, prompt: int = 30) -> list[Encoded]:
    """Pairs of uneven length; some answers begin alike, one is a beginning of the other."""
    draw = random.Random(seed)
    tokens = lambda k: [draw.randrange(2, small.VOCABULARY) for _ in range(k)]  # noqa: E731
    found = []
    for i in range(n):
        asked, start = tokens(draw.randint(prompt // 2, prompt)), tokens(3 * (i % 2))
        answers = start + tokens(draw.randint(1, 6)), start + tokens(draw.randint(1, 6))
        if i == 0:
            answers = answers[0], [*answers[0], 5]
        parts: dict[str, list[int]] = {}
        for side, answer in zip(SIDES, answers, strict=True):
            parts |= {f"{side}.input_ids": asked + answer, f"{side}.labels": [-100] * len(asked) + answer}
        found.append(Encoded(parts))
    return found


def step_for(model: Any, folder: Path, adapter: Any = None, strategy: Any = None) -> TrainingStep:
    run = small.settings(strategy or Dpo(), adapter)
    context = small.context(run, folder)
    step = TrainingStep(run, run.adapter.apply(model, context), None, context)  # type: ignore[arg-type]
    step.prove_parts()
    step.model.eval()  # dropout would draw other masks for other shapes
    return step


def gradients(step: TrainingStep, loss: Loss) -> dict[str, torch.Tensor]:
    step.model.zero_grad()
    loss.total.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in step.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("strategy", [Dpo(), Simpo(), Cpo()], ids=lambda s: s.name)
@pytest.mark.parametrize("kind", ["llama", "gpt2", "lora"])
def test_losses_and_gradients_equal_two_rows(kind: str, strategy: Any, tmp_path: Path) -> None:
    model = small.gpt2() if kind == "gpt2" else small.llama()
    step = step_for(model, tmp_path, Lora(r=4) if kind == "lora" else Full(), strategy)
    for name, parameter in step.model.named_parameters():
        if "lora_B" in name:  # as if it had trained: on and off differ
            torch.nn.init.normal_(parameter, std=0.2)
    rows = long_prompts(6)
    batch = collate(rows, 0)
    if kind != "lora":
        batch |= {f"reference.{side}": torch.full((6,), -20.0) for side in SIDES}
    plain = strategy.loss(step.model, batch, step)
    want = gradients(step, plain)
    assert "computed once" in step.share_prompts(rows)
    shared = strategy.loss(step.model, batch, step)
    assert shared.total.item() == pytest.approx(plain.total.item(), rel=1e-5)
    got = gradients(step, shared)
    assert got.keys() == want.keys()
    assert max(float((got[n] - want[n]).abs().max()) for n in want) < 1e-5 * max(
        1, *(float(g.abs().max()) for g in want.values())
    )
    assert any(float(g.abs().max()) > 1e-3 for g in want.values())


def test_one_pass_serves_both_sides_and_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, passes, scores = step_for(small.llama(), tmp_path), [], pairs.scores
    rows = long_prompts(4)
    step.share_prompts(rows)
    monkeypatch.setattr(pairs, "scores", lambda *values: passes.append(1) or scores(*values))
    batch = collate(rows, 0)
    chosen, rejected = (step.log_probs(step.model, batch, side)[0] for side in SIDES)
    assert len(passes) == 1
    held = weakref.ref(rejected)
    del chosen, rejected
    gc.collect()
    assert held() is None
    step.log_probs(step.model, batch, "chosen")
    with torch.no_grad():  # weights that change between two passes over one batch are seen
        for parameter in step.model.parameters():
            parameter.mul_(1.5)
    fresh = step_for(step.model, tmp_path).log_probs(step.model, batch, "chosen")[0]
    assert torch.allclose(step.log_probs(step.model, batch, "chosen")[0], fresh, atol=1e-4)
    with step.window([(batch, True)]):
        held = weakref.ref(step.log_probs(step.model, batch, "chosen")[0])
    gc.collect()
    assert held() is None
    assert not step.shared._kept


def opt() -> Any:
    from transformers import OPTConfig, OPTForCausalLM

    torch.manual_seed(0)
    config = OPTConfig(vocab_size=97, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4,
                       max_position_embeddings=256, pad_token_id=0, word_embed_proj_dim=32)  # fmt: skip
    return OPTForCausalLM(config)


def mamba() -> Any:
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    return MambaForCausalLM(MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=4))


def windowed() -> Any:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=2, pad_token_id=0,
                           num_attention_heads=4, num_key_value_heads=2, sliding_window=8)  # fmt: skip
    return MistralForCausalLM(config)


@pytest.mark.parametrize("make", [mamba, windowed], ids=["mamba", "sliding window"])
def test_a_model_whose_attention_does_not_allow_it_keeps_two_rows(make: Any, tmp_path: Path) -> None:
    step = step_for(make(), tmp_path)
    said = step.share_prompts(long_prompts(4))
    assert said.startswith("each pair stays two rows, though")
    assert not step.shared.on


def test_what_opt_does_is_found_out_by_the_probe(tmp_path: Path) -> None:
    """Whatever this model makes of positions, the joint form is on only where it is equal."""
    step, rows = step_for(opt(), tmp_path), long_prompts(4)
    batch = collate(rows, 0)
    want = [step.log_probs(step.model, batch, side)[0] for side in SIDES]
    step.share_prompts(rows)
    for side, expected in zip(SIDES, want, strict=True):
        assert torch.allclose(step.log_probs(step.model, batch, side)[0], expected, rtol=1e-4)


def test_short_prompts_do_not_pay_and_other_rows_are_not_spoken_of(tmp_path: Path) -> None:
    step = step_for(small.llama(), tmp_path)
    ids = {"chosen": list(range(2, 22)), "rejected": [2, 3, *range(30, 48)]}
    parts = {f"{side}.input_ids": x for side, x in ids.items()}
    parts |= {f"{side}.labels": [-100, -100, *x[2:]] for side, x in ids.items()}
    assert "does not pay" in step.share_prompts([Encoded(parts)])
    assert not step.shared.on
    assert step.share_prompts(small.rows(4)) == ""


@pytest.mark.parametrize("adapter", [Full(), Lora(r=4, dropout=0.1)], ids=["full", "lora"])
def test_a_run_says_so_and_does_not_depend_on_micro_batches(adapter: Any, tmp_path: Path) -> None:
    found = []
    for size in (8, 1):
        folder = tmp_path / f"{size}"
        adapter.dropout = 0.0
        run = small.settings(
            Dpo(), adapter, batch__size=size, batch__global_size=8, optimizer__learning_rate=1e-4, trainer__max_epochs=2
        )
        context = small.context(run, folder)
        fitted = fit(run, small.loaded(small.llama()), small.encoded(long_prompts(24)), None, False, context)
        assert any("computed once" in note["text"] for note in context.notes)
        found.append(torch.cat([p.detach().flatten() for p in fitted.model.parameters() if p.requires_grad]))
    assert float((found[0] - found[1]).abs().max()) < 1e-6


@pytest.mark.parametrize("strategy", [Cpo(), Dpo(also=["sft"], weights=[1.0, 0.5])], ids=["cpo", "dpo+sft"])  # type: ignore[list-item]
def test_a_mean_over_tokens_is_one_over_the_whole_step(strategy: Any, tmp_path: Path) -> None:
    found = []
    for size in (8, 1):
        run = small.settings(
            strategy, batch__size=size, batch__global_size=8, optimizer__learning_rate=1e-4, trainer__max_epochs=1
        )
        context = small.context(run, tmp_path / f"{size}")
        fitted = fit(run, small.loaded(small.llama()), small.encoded(small.pairs(24)), None, False, context)
        found.append(fitted)
    one, other = (torch.cat([p.detach().flatten() for p in f.model.parameters()]) for f in found)
    assert float((one - other).abs().max()) < 1e-6
    losses = [[line["loss"] for line in f.history] for f in found]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
