"""The loss against the paper, and training with it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tuneforge_orpo.orpo import Orpo

import tuneforge
from tuneforge.errors import ConfigError
from tuneforge.rows import Encoded

torch.set_num_threads(1)
PAIRS = [  # prompt, chosen, rejected
    ([5, 6, 7], [8, 9, 1], [10, 11, 12, 13, 1]),
    ([20, 21], [22, 1], [23, 1]),
    ([30, 31, 32, 33, 34], [35, 36, 37, 38, 39, 40, 1], [41, 1]),
]


def llama(spread: float = 1.0) -> Any:
    """A tiny random model; `spread` scales its head, so that its answers become more or less certain."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(spread)
    return model


def encoded() -> list[Encoded]:
    found = []
    for prompt, *answers in PAIRS:
        parts: dict[str, list[int]] = {}
        for side, answer in zip(("chosen", "rejected"), answers, strict=True):
            parts |= {f"{side}.input_ids": prompt + answer, f"{side}.labels": [-100] * len(prompt) + answer}
        found.append(Encoded(parts))
    return found


def by_the_paper(model: Any, weight: float) -> float:
    """Equations 1, 3, 4, 6 and 7 in float64, one sequence at a time."""
    model = model.double()

    def log_p(prompt: list[int], answer: list[int]) -> float:
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            scores = model(input_ids=ids).logits[0].log_softmax(-1)
        return sum(float(scores[len(prompt) + t - 1, token]) for t, token in enumerate(answer)) / len(answer)

    total = 0.0
    for prompt, chosen, rejected in PAIRS:
        good, bad = math.exp(log_p(prompt, chosen)), math.exp(log_p(prompt, rejected))
        odds_ratio = (good / (1 - good)) / (bad / (1 - bad))
        total += -math.log(good) + weight * -math.log(1 / (1 + math.exp(-math.log(odds_ratio))))
    return total


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("spread", [1.0, 20.0])
def test_loss_is_the_papers(weight: float, spread: float, tmp_path: Path) -> None:
    from tuneforge.context import RunContext
    from tuneforge.training.step import TrainingStep

    run = tuneforge.compose(["strategy=orpo", f"strategy.odds_weight={weight}"])
    model = llama(spread)
    step = TrainingStep(run, model, None, RunContext(run, tmp_path))  # type: ignore[arg-type]
    loss = run.strategy.loss(model, run.strategy.collate(encoded(), pad=0), step)
    assert loss.items == len(PAIRS)
    assert float(loss.total.detach()) == pytest.approx(by_the_paper(model, weight), rel=1e-6)


def test_gradient_is_finite_where_an_answer_is_certain() -> None:
    log_probs = {"chosen": torch.zeros(1, requires_grad=True), "rejected": torch.tensor([-50.0], requires_grad=True)}

    class Certain:
        def log_probs(self, model: Any, batch: Any, part: str) -> tuple[torch.Tensor, torch.Tensor]:
            return log_probs[part], torch.ones(1)

    loss: Any = Orpo().loss(None, {}, Certain())  # type: ignore[arg-type]
    loss.total.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in log_probs.values() if p.grad is not None)


def test_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.odds_weight=-1\.0"):
        tuneforge.compose(["strategy=orpo", "strategy.odds_weight=-1"])


def test_preset_chooses_lora() -> None:
    run = tuneforge.compose(["strategy=orpo_lora", "adapter.r=4"])
    assert (run.strategy.name, run.adapter.name) == ("orpo", "lora")


def test_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = tuneforge.run([
        "strategy=orpo", "output_dir=run", "trainer=cpu", "trainer.max_steps=6", "trainer.log_every_n_steps=1",
        "data.helpdesk.limit=48", "~data.replay", "~test.general_test", "test.helpdesk_test.limit=8",
        "validation.helpdesk_validation.limit=8", "gate=off", "optimizer.learning_rate=1e-3",
    ])  # fmt: skip
    assert outcome.record["status"] == "finished"
    assert any(name.startswith("tuneforge-orpo ") for name in outcome.record["plugins"])
    history = (tmp_path / "run" / "logs").rglob("*.csv")
    text = next(history).read_text(encoding="utf-8")
    assert "odds/log_ratio" in text.splitlines()[0]
