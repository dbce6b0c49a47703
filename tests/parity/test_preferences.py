"""Preference losses, gradient norms and weights equal TRL's over 12 steps, for every variant that TRL offers."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.parity.test_losses import SEED, SIZE, STEPS, agree, arguments, side, tokenizer, trl_order
from tests.unit.training import small
from tuneforge.rows import Encoded
from tuneforge.strategy.cpo import Cpo
from tuneforge.strategy.dpo import Dpo, PairLoss
from tuneforge.strategy.kto import Kto
from tuneforge.strategy.reward import Reward
from tuneforge.strategy.simpo import Simpo

pytest.importorskip("trl", reason="TRL is the oracle; pip install 'tuneforge[dev]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # of TRL's trainers, not ours

RATE = 2e-3


def texts(n: int, seed: int = 5) -> list[dict[str, str]]:
    draw = random.Random(seed)
    text = lambda low, high: "".join(f" w{draw.randrange(90)}" for _ in range(draw.randint(low, high)))  # noqa: E731
    return [{"prompt": text(3, 9), "chosen": text(4, 12), "rejected": text(4, 12)} for _ in range(n)]


def ours(
    folder: Path, rows: list[Encoded], strategy: Any, accumulate: int, order: Any = None, model: Any = None
) -> Any:
    from tuneforge.training.fit import fit

    run = small.settings(
        strategy, seed=SEED, batch__size=SIZE, batch__global_size=SIZE * accumulate, trainer__max_steps=STEPS,
        trainer__max_epochs=None, optimizer__learning_rate=RATE, scheduler__warmup=3,
    )  # fmt: skip
    assert list(strategy.check(run)) == []
    loaded = small.loaded(model or small.llama())
    return fit(run, loaded, small.encoded(rows), None, False, small.context(run, folder), order=order)


def trl_arguments(folder: Path, accumulate: int, **more: Any) -> dict[str, Any]:
    return arguments(folder, learning_rate=RATE, gradient_accumulation_steps=accumulate, max_length=128, **more)


SMOOTHING = {"exo_pair": 1e-3, "robust": 0.1, "aot": 0.1}
TOGETHER = {"aot", "aot_unpaired", "sft"}
"""TRL takes these over one micro-batch; a step that is one is equal in both."""
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((str(name), {}) for name in PairLoss),
    *(("sigmoid", {"divergence": d}) for d in ("forward_kl", "js_divergence", "alpha_divergence")),
    ("ipo", {"divergence": "js_divergence"}),
    ("sigmoid", {"also": ["bco_pair", "sft"], "weights": [0.8, 0.2, 1.0]}),
    ("sigmoid", {"ld_alpha": 0.4}),
    ("ipo", {"ld_alpha": 0.0}),
    ("sigmoid", {"also": ["sft"], "weights": [1.0, 0.5], "ld_alpha": 0.3}),
]


@pytest.mark.parametrize(("loss", "more"), VARIANTS, ids=lambda x: x if isinstance(x, str) else "+".join(map(str, x)))
def test_dpo(loss: str, more: dict[str, Any], tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    accumulate = 1 if {loss, *more.get("also", ())} & TOGETHER else 2
    theirs = trl_arguments(
        tmp_path, accumulate, loss_type=[loss, *more.get("also", ())], loss_weights=more.get("weights"), beta=0.2,
        label_smoothing=SMOOTHING.get(loss, 0.0), f_divergence_type=more.get("divergence", "reverse_kl"),
        ld_alpha=more.get("ld_alpha"),
    )  # fmt: skip
    trainer = DPOTrainer(
        small.llama(), ref_model=small.llama(), args=DPOConfig(**theirs), train_dataset=Dataset.from_list(texts(48)),
        processing_class=tokenizer(),
    )  # fmt: skip
    trainer.train()
    rows = [Encoded(side(row, "chosen") | side(row, "rejected")) for row in trainer.train_dataset]
    strategy = Dpo(loss_type=PairLoss(loss), beta=0.2, label_smoothing=SMOOTHING.get(loss, 0.0), **more)
    agree(trainer, trainer.model, ours(tmp_path, rows, strategy, accumulate, trl_order(len(rows))))


def test_dpo_with_shared_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from tuneforge.training.loss import pairs

    joint: list[int] = []
    scores = pairs.scores
    monkeypatch.setattr(pairs, "PAYS", 1.0)
    monkeypatch.setattr(pairs, "scores", lambda *values: joint.append(1) or scores(*values))
    trainer = DPOTrainer(
        small.llama(), ref_model=small.llama(), args=DPOConfig(**trl_arguments(tmp_path, 2, beta=0.2)),
        train_dataset=Dataset.from_list(texts(48)), processing_class=tokenizer(),
    )  # fmt: skip
    trainer.train()
    rows = [Encoded(side(row, "chosen") | side(row, "rejected")) for row in trainer.train_dataset]
    agree(trainer, trainer.model, ours(tmp_path, rows, Dpo(beta=0.2), 2, trl_order(len(rows))))
    assert len(joint) >= 2 * STEPS


@pytest.mark.parametrize(("loss", "accumulate"), [("kto", 1), ("apo_zero_unpaired", 2)])
def test_kto(loss: str, accumulate: int, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    draw = random.Random(1)
    data = [
        {"prompt": row["prompt"], "completion": row["chosen"], "label": draw.random() < 0.6}
        for row in texts(48, seed=3)
    ]
    weights = {"desirable_weight": 1.2, "undesirable_weight": 0.7}
    more = {"loss_type": loss, "beta": 0.3, "train_sampling_strategy": "sequential", **weights}
    trainer = KTOTrainer(
        small.llama(), ref_model=small.llama(), args=KTOConfig(**trl_arguments(tmp_path, accumulate, **more)),
        train_dataset=Dataset.from_list(data), processing_class=tokenizer(),
    )  # fmt: skip
    trainer.train()
    rows = []
    for row in trainer.train_dataset:
        kept = {"prompt_ids": row["prompt_ids"], "_ids": row["completion_ids"]}
        parts = {name.removeprefix("."): tokens for name, tokens in side(kept, "").items()}
        if loss == "kto":
            parts |= side({"prompt_ids": row["prompt_ids"], "kl_ids": row["KL_completion_ids"]}, "kl")
        rows.append(Encoded(parts, {"desirable": float(row["label"])}))
    strategy = Kto(loss_type=loss, beta=0.3, **weights)  # type: ignore[arg-type]
    fitted = ours(tmp_path, rows, strategy, accumulate, lambda epoch: range(len(rows)))
    if loss == "kto":
        kl = [line["kl"] for line in trainer.state.log_history if "kl" in line]
        assert max(kl) > 0.01, "the KL term was 0 throughout, so it was not compared"
        assert [line["kl"] for line in fitted.history] == pytest.approx(kl, abs=1e-4)
    agree(trainer, trainer.model, fitted)


CPO: list[tuple[str, dict[str, Any], Any]] = [
    ("sigmoid", {"cpo_alpha": 1.0}, Cpo(beta=0.2)),
    ("hinge", {"cpo_alpha": 0.0}, Cpo(loss_type="hinge", beta=0.2, nll_weight=0.0)),  # type: ignore[arg-type]
    ("ipo", {"cpo_alpha": 0.0}, Cpo(loss_type="ipo", beta=0.2, nll_weight=0.0)),  # type: ignore[arg-type]
    ("simpo", {"cpo_alpha": 0.5, "alpha": 0.3}, Cpo(loss_type="simpo", beta=0.2, nll_weight=0.5, alpha=0.3)),  # type: ignore[arg-type]
    ("simpo", {"cpo_alpha": 0.0, "simpo_gamma": 0.4}, Simpo(beta=0.2, gamma=0.4)),
]


@pytest.mark.parametrize(("loss", "more", "strategy"), CPO, ids=[f"{c[2].name}-{c[0]}" for c in CPO])
def test_cpo_and_simpo(loss: str, more: dict[str, Any], strategy: Any, tmp_path: Path) -> None:
    from datasets import Dataset

    experimental = pytest.importorskip("trl.experimental.cpo")
    accumulate = 1 if more["cpo_alpha"] else 2
    config = experimental.CPOConfig(**trl_arguments(tmp_path, accumulate, loss_type=loss, beta=0.2, **more))
    trainer = experimental.CPOTrainer(
        small.llama(), args=config, train_dataset=Dataset.from_list(texts(48)), processing_class=tokenizer()
    )
    trainer.train()
    rows = []
    for row in trainer.train_dataset:
        names = [(f"{s}.{n}", row[f"{s}_{n}"]) for s in ("chosen", "rejected") for n in ("input_ids", "labels")]
        rows.append(Encoded(dict(names)))
    agree(trainer, trainer.model, ours(tmp_path, rows, strategy, accumulate, trl_order(len(rows))))


def test_reward(tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import LlamaForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    def model() -> Any:
        config = small.llama().config
        config.num_labels = 1
        return LlamaForSequenceClassification(config)

    draw = random.Random(2)
    data = [row | {"margin": draw.random()} for row in texts(48)]
    config = RewardConfig(**trl_arguments(tmp_path, 2, center_rewards_coefficient=0.05))
    trainer = RewardTrainer(model(), args=config, train_dataset=Dataset.from_list(data), processing_class=tokenizer())
    trainer.train()
    rows = [
        Encoded({f"{s}.input_ids": row[f"{s}_ids"] for s in ("chosen", "rejected")}, {"margin": row["margin"]})
        for row in trainer.train_dataset
    ]
    strategy = Reward(center_rewards_coefficient=0.05)
    fitted = ours(tmp_path, rows, strategy, 2, trl_order(len(rows)), model())
    agree(trainer, trainer.model, fitted)
    accuracy = [line["accuracy"] for line in trainer.state.log_history if "accuracy" in line]
    assert [line["rewards/accuracies"] for line in fitted.history] == pytest.approx(accuracy)
