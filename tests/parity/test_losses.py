"""Losses, gradient norms and learning rates equal TRL's over 12 steps with accumulation 2."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training import small

pytest.importorskip("trl", reason="TRL is the oracle; pip install 'tuneforge[dev]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # of TRL's trainers, not ours

STEPS, SIZE, ACCUMULATE, SEED = 12, 4, 2, 42
SHAPE = {"hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 256}


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", *(f"w{i}" for i in range(small.VOCABULARY - 3))]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def arguments(folder: Path, **more: Any) -> dict[str, Any]:
    """TRL without its own defaults: bf16, gradient checkpointing, epochs, reporting."""
    return {
        "output_dir": str(folder / "trl"), "max_steps": STEPS, "per_device_train_batch_size": SIZE,
        "gradient_accumulation_steps": ACCUMULATE, "learning_rate": 1e-3, "weight_decay": 0.01, "warmup_steps": 3,
        "lr_scheduler_type": "linear", "max_grad_norm": 1.0, "bf16": False, "gradient_checkpointing": False,
        "logging_steps": 1, "report_to": "none", "use_cpu": True, "save_strategy": "no", "seed": SEED,
        "disable_tqdm": True,
    } | more  # fmt: skip


def trl_order(n: int) -> Any:
    from accelerate.data_loader import SeedableRandomSampler

    def order(epoch: int) -> list[int]:
        sampler = SeedableRandomSampler(range(n), data_seed=SEED)
        sampler.set_epoch(epoch)
        return list(sampler)

    return order


def ours(folder: Path, model: Any, rows: list[Any], order: Any, packing: bool = False, **more: Any) -> Any:
    from tuneforge.training.fit import fit

    run = small.settings(
        more.get("strategy"), more.get("adapter"), seed=SEED, batch__size=SIZE, batch__global_size=SIZE * ACCUMULATE,
        trainer__max_steps=STEPS, trainer__max_epochs=None, optimizer__learning_rate=more.get("rate", 1e-3),
        scheduler__warmup=3,
    )  # fmt: skip
    encoded = small.encoded(rows, max_length=128)
    return fit(run, small.loaded(model), encoded, None, packing, small.context(run, folder), order=order)


def agree(trainer: Any, theirs: Any, fitted: Any) -> None:
    history = [line for line in trainer.state.log_history if "loss" in line]
    assert len(history) == len(fitted.history) == STEPS
    apart = [abs(a["loss"] - b["loss"]) for a, b in zip(history, fitted.history, strict=True)]
    print(f"largest difference of a loss: {max(apart):.1e}")
    for want, got in zip(history, fitted.history, strict=True):
        assert got["learning_rate"] == pytest.approx(want["learning_rate"], abs=1e-12)
        assert got["loss"] == pytest.approx(want["loss"], rel=2e-6, abs=1e-5)  # about 20 float32 roundings
        assert got["grad_norm"] == pytest.approx(want["grad_norm"], rel=1e-4)
    pairs = zip(theirs.parameters(), fitted.model.parameters(), strict=True)
    gap = max(float((a - b).detach().abs().max()) for a, b in pairs)
    print(f"largest difference of a weight: {gap:.1e}")
    assert gap < 1e-4
    losses = [line["loss"] for line in history]
    assert max(losses) - min(losses) > 0.01, "nothing was learnt that could have differed"


def as_dataset(rows: list[Any]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([dict(row.parts) for row in rows])


@pytest.mark.parametrize("masked", [False, True], ids=["full", "assistant-only"])
def test_sft(tmp_path, masked):
    from trl import SFTConfig, SFTTrainer

    rows = small.rows(96, masked=masked, longest=48)
    theirs = small.llama(**SHAPE)
    config = SFTConfig(**arguments(tmp_path, max_length=128))
    trainer = SFTTrainer(theirs, config, train_dataset=as_dataset(rows), processing_class=tokenizer())
    trainer.train()
    agree(trainer, theirs, ours(tmp_path, small.llama(**SHAPE), rows, trl_order(len(rows))))


def test_sft_packed_over_epochs(tmp_path):
    from trl import SFTConfig, SFTTrainer

    from tuneforge.training.batches.packing import pack

    # Lengths that all differ: two best-fit-decreasing packers can then only agree.
    draw = random.Random(0)
    rows = [small.rows(1, seed=n, masked=False, longest=4)[0] for n in range(96)]
    rows = [r._replace(parts={k: [draw.randrange(3, small.VOCABULARY) for _ in range(6 + n)] for k in ("input_ids",)})
            for n, r in enumerate(rows)]  # fmt: skip
    rows = [r._replace(parts={"input_ids": r.parts["input_ids"], "labels": r.parts["input_ids"]}) for r in rows]
    theirs = small.llama(**SHAPE)
    config = SFTConfig(**arguments(tmp_path, max_length=128, packing=True))
    trainer = SFTTrainer(theirs, config, train_dataset=as_dataset(rows), processing_class=tokenizer())
    trainer.train()
    units = {
        frozenset(len(rows[i].parts["input_ids"]) for i in unit): at
        for at, unit in enumerate(pack([len(row.parts["input_ids"]) for row in rows], 128))
    }
    packs = [units[frozenset(row["seq_lengths"])] for row in trainer.train_dataset]
    assert len(packs) == len(units) < STEPS * SIZE * ACCUMULATE  # an epoch ends within the twelve steps
    shuffled = trl_order(len(packs))
    fitted = ours(tmp_path, small.llama(**SHAPE), rows, lambda e: [packs[i] for i in shuffled(e)], packing=True)
    agree(trainer, theirs, fitted)


def side(row: Any, name: str) -> dict[str, list[int]]:
    """One answer of TRL's tokenised pair as our parts."""
    prompt, answer = list(row["prompt_ids"]), list(row[f"{name}_ids"])
    return {f"{name}.input_ids": prompt + answer, f"{name}.labels": [-100] * len(prompt) + answer}


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_dpo(tmp_path, kind):
    from datasets import Dataset
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer

    from tuneforge.adapter.lora import Lora
    from tuneforge.rows import Encoded
    from tuneforge.strategy.dpo import Dpo

    draw = random.Random(5)
    text = lambda low, high: "".join(f" w{draw.randrange(90)}" for _ in range(draw.randint(low, high)))  # noqa: E731
    data = [{"prompt": text(3, 15), "chosen": text(4, 25), "rejected": text(4, 25)} for _ in range(96)]
    rate, lora = (2e-3, None) if kind == "full" else (2e-2, LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    ))  # fmt: skip
    config = DPOConfig(**arguments(tmp_path, beta=0.1, max_length=256, learning_rate=rate))
    trainer = DPOTrainer(
        small.llama(**SHAPE), ref_model=small.llama(**SHAPE) if lora is None else None, args=config,
        train_dataset=Dataset.from_list(data), processing_class=tokenizer(), peft_config=lora,
    )  # fmt: skip
    trainer.train()
    rows = [Encoded(side(row, "chosen") | side(row, "rejected")) for row in trainer.train_dataset]
    adapter = Lora(r=4, alpha=8, targets=["q_proj", "v_proj"]) if kind == "lora" else None
    fitted = ours(
        tmp_path, small.llama(**SHAPE), rows, trl_order(len(rows)), strategy=Dpo(beta=0.1), adapter=adapter, rate=rate
    )
    agree(trainer, trainer.model, fitted)
