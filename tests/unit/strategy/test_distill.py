"""Distillation: the divergences, their chunks, and teachers that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training import bert, small
from tuneforge.errors import ConfigError
from tuneforge.rows import Loaded
from tuneforge.strategy.distill import Distill, Divergence
from tuneforge.training.batches.collate import collate
from tuneforge.training.loss import distillation
from tuneforge.training.loss.distillation import divergence
from tuneforge.training.step import TrainingStep


def saved(folder: Path, model: Any, tokenizer: Any = None) -> str:
    model.save_pretrained(folder)
    (tokenizer or bert.tokenizer()).save_pretrained(folder)
    return str(folder)


def step(strategy: Distill, folder: Path, model: Any = None, tokenizer: Any = None, **more: Any) -> TrainingStep:
    run = small.settings(strategy, **more)
    made = model or small.llama(vocabulary=100)
    return TrainingStep(run, made, tokenizer or bert.tokenizer(), small.context(run, folder / "run"))


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_divergences_equal_a_float64_reference(beta: float) -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.randn(5, 11).log_softmax(-1) for _ in range(2))
    p, q = theirs.double().exp(), ours.double().exp()

    def kl(a: Any, b: Any) -> Any:
        return (a * (a / b).log()).sum()

    mixture = beta * p + (1 - beta) * q
    jsd = beta * kl(p, mixture) + (1 - beta) * kl(q, mixture)
    wanted = {0.0: kl(p, q), 1.0: kl(q, p)}.get(beta, jsd)
    assert float(divergence(ours, theirs, beta)) == pytest.approx(float(wanted), abs=1e-5)


@pytest.mark.parametrize("kind", list(Divergence))
def test_a_teacher_that_is_the_model_itself_teaches_nothing(tmp_path: Path, kind: Divergence) -> None:
    model = small.llama(vocabulary=100)
    strategy = Distill(teacher=saved(tmp_path / "t", model), divergence=kind, temperature=3.0)
    loss = strategy.loss(model, collate(small.rows(4), 0), step(strategy, tmp_path, model))
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert loss.total.item() == pytest.approx(0, abs=1e-5)
    assert max(float(p.grad.abs().max()) for p in model.parameters()) < 1e-5


def test_chunks_give_the_same_loss_and_gradients(tmp_path: Path, monkeypatch: Any) -> None:
    teacher = saved(tmp_path / "t", small.llama(seed=1, vocabulary=107))
    strategy = Distill(teacher=teacher, divergence=Divergence.jsd, hard_weight=0.3, temperature=2.0)
    found = []
    for largest in (2**23, 700):
        monkeypatch.setattr(distillation, "LARGEST", largest)
        model = small.llama(vocabulary=100)
        loss = strategy.loss(model, collate(small.rows(6), 0), step(strategy, tmp_path, model))
        loss.total.backward()  # type: ignore[no-untyped-call]
        found.append([loss.total.detach(), *(p.grad for p in model.parameters()), *loss.logs.values()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*found, strict=True))
    apart, hard = (float(loss.logs[name]) for name in ("divergence", "cross_entropy"))
    assert loss.total.item() == pytest.approx(0.7 * apart + 0.3 * hard, rel=1e-5)


def test_the_model_comes_close_to_its_teacher_and_micro_batches_train_the_same(tmp_path: Path) -> None:
    from tuneforge.training.fit import fit

    teacher = small.llama(seed=1, vocabulary=100, tie=False)
    with torch.no_grad():
        teacher.lm_head.weight.mul_(40)
    strategy = Distill(teacher=saved(tmp_path / "t", teacher))

    def history(size: int) -> list[float]:
        run = small.settings(strategy, batch__size=size, batch__global_size=8, trainer__max_epochs=10)
        loaded = Loaded(small.llama(vocabulary=100, tie=False), bert.tokenizer())
        made = fit(run, loaded, small.encoded(small.rows(24)), None, False, small.context(run, tmp_path / str(size)))
        return [line["loss"] for line in made.history]

    whole, cut = history(8), history(2)
    assert cut == pytest.approx(whole, abs=1e-4)
    assert sum(whole[-3:]) < 0.6 * sum(whole[:3])


def test_teachers_that_cannot_judge_are_refused(tmp_path: Path) -> None:
    rows = small.rows(3)
    other = bert.tokenizer()
    other.add_tokens(["w200"])
    teacher = saved(tmp_path / "other", small.llama(vocabulary=107), other)
    strategy = Distill(teacher=teacher)
    with pytest.raises(ConfigError, match=r"1 of 100 tokens differ \('w200' is absent here and 100 there\)"):
        strategy.begin(rows, step(strategy, tmp_path))
    short = saved(tmp_path / "short", small.llama(vocabulary=100, max_position_embeddings=8))
    strategy = Distill(teacher=short)
    with pytest.raises(ConfigError, match=r"its context is 8 tokens, rows have up to \d+; lower batch.max_length"):
        strategy.begin(rows, step(strategy, tmp_path))
    strategy = Distill(teacher=saved(tmp_path / "leaking", opt()))
    with pytest.raises(ConfigError, match=r"packed into one sequence see each other; set batch.packing=off"):
        strategy.begin(rows, step(strategy, tmp_path))
    off = step(strategy, tmp_path, batch__packing="off")
    for _ in range(2):  # before the timed step, and before the first
        strategy.begin(rows, off)
    said = [note["text"] for note in off.context.notes]  # type: ignore[attr-defined]
    assert [text.split(",")[0] for text in said] == ["model.dtype=auto: float32", "the teacher"]
    assert said[1].endswith("takes 0.1 MiB beside the model")


def opt() -> Any:
    """Two packed documents see each other in it."""
    from transformers import OPTConfig, OPTForCausalLM

    torch.manual_seed(0)
    return OPTForCausalLM(
        OPTConfig(
            vocab_size=100, hidden_size=32, num_hidden_layers=2, ffn_dim=64, num_attention_heads=4,
            max_position_embeddings=64, word_embed_proj_dim=32, init_std=0.5,
        )
    )  # fmt: skip


def test_the_cross_entropy_is_smoothed_as_that_of_sft(tmp_path: Path) -> None:
    from tuneforge.strategy.sft import Sft

    model, batch = small.llama(vocabulary=100), collate(small.rows(5), 0)
    strategy = Distill(teacher=saved(tmp_path / "t", model), hard_weight=0.5, label_smoothing=0.1)
    found = strategy.loss(model, batch, step(strategy, tmp_path, model)).logs["cross_entropy"]
    wanted = Sft(label_smoothing=0.1).loss(model, batch, step(strategy, tmp_path, model)).total
    assert float(found) == pytest.approx(wanted.item(), rel=1e-5)


def test_fields_that_make_no_sense_are_refused() -> None:
    idle = Distill(teacher="t", beta=0.3, label_smoothing=0.1)
    assert list(idle.check(None)) == [  # type: ignore[arg-type]
        "strategy.beta=0.3 has no meaning for divergence=forward_kl; set divergence=jsd",
        "strategy.label_smoothing=0.1 has no meaning for hard_weight=0: no label is used",
    ]
    wrong = Distill(divergence=Divergence.jsd, beta=1.0, temperature=0.0, hard_weight=1.0)
    assert list(wrong.check(None)) == [  # type: ignore[arg-type]
        "strategy.teacher is empty: name the larger model (a folder, a run, a hub name or an installed model)",
        "strategy.beta=1.0 must be between 0 and 1; its ends are forward_kl and reverse_kl",
        "strategy.temperature=0.0 must be above 0",
        "strategy.hard_weight=1.0 must be in [0, 1); 1 would be strategy=sft",
    ]
