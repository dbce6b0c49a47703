"""Losses, gradient norms and weights of strategy=grpo equal TRL's GRPO and RLOO trainers on the same completions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from tests.parity.test_losses import SEED, SHAPE, agree, arguments, tokenizer
from tests.unit.training import small
from tuneforge.components import Evaluator
from tuneforge.rows import Encoded, Loaded, Metric, Row
from tuneforge.strategy.grpo import Grpo
from tuneforge.training.loss.sampling import Continuation, prompts_of, sequences

pytest.importorskip("trl", reason="TRL is the oracle; pip install 'tuneforge[dev]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # of TRL's trainers, not ours

STEPS, PROMPTS, GENERATIONS, ACCUMULATE, LONGEST = 12, 2, 4, 2, 9
EOS = 1


def completions() -> dict[tuple[int, ...], list[list[int]]]:
    """Prompt → its sampled answers; a third of them truncated, and one group whose answers are all alike."""
    draw = random.Random(3)
    found: dict[tuple[int, ...], list[list[int]]] = {}
    while len(found) < STEPS * PROMPTS * ACCUMULATE:
        prompt = tuple(draw.randrange(3, small.VOCABULARY) for _ in range(draw.randint(2, 10)))
        ends = [draw.choice([True, True, False]) for _ in range(GENERATIONS)]
        length = [draw.randint(1, LONGEST - 1) if end else LONGEST for end in ends]
        answers = [[draw.randrange(3, small.VOCABULARY) for _ in range(n)] for n in length]
        answers = [[*a[:-1], EOS] if end else a for a, end in zip(answers, ends, strict=True)]
        found[prompt] = [answers[0]] * GENERATIONS if len(found) == 1 else answers
    return found


ANSWERED = completions()


def words(text: str) -> list[int]:
    return [int(word[1:]) for word in text.split() if word.startswith("w")]


def evenness(text: str) -> float:
    return sum(n % 2 == 0 for n in words(text)) / 4


def shortness(text: str) -> float:
    return -len(words(text)) / 10


@dataclass(kw_only=True)
class Evenness(Evaluator):
    """How many words have even numbers."""

    name: ClassVar[str] = "evenness"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("evenness"),)

    def score(self, row: Row, answer: Any) -> dict[str, float]:
        return {"evenness": evenness(answer.text)}


@dataclass(kw_only=True)
class Length(Evaluator):
    """A metric of which less is better."""

    name: ClassVar[str] = "length"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("length", higher_is_better=False),)

    def score(self, row: Row, answer: Any) -> dict[str, float]:
        return {"length": -shortness(answer.text)}


@dataclass(kw_only=True)
class Recorded(Grpo):
    """Answers from the table above instead of the model's own."""

    def roll_out(self, model: Any, batch: Any, step: Any) -> Any:
        prompts = prompts_of(batch, "prompt")
        found = [Continuation(ids, ids[-1] != EOS) for p in prompts for ids in ANSWERED[tuple(p)]]

        class Step:
            def generate(self, *_: Any) -> Any:
                return sequences(prompts, found, 0, torch.device("cpu"))

            def __getattr__(self, name: str) -> Any:
                return getattr(step, name)

        return super().roll_out(model, batch, Step())


def ours(folder: Path, strategy: Grpo, **more: Any) -> Any:
    from tuneforge.training.fit import fit
    from tuneforge.training.text.encode import EncodedSet

    chosen = {
        "seed": SEED, "batch__size": PROMPTS, "batch__global_size": PROMPTS * ACCUMULATE, "trainer__max_steps": STEPS,
        "trainer__max_epochs": None, "optimizer__learning_rate": 1e-3, "scheduler__warmup": 3,
        "evaluator": {"evenness": Evenness(), "length": Length()},
    } | more  # fmt: skip
    run = small.settings(strategy, **chosen)
    rows = [Encoded({"prompt.input_ids": list(prompt)}) for prompt in ANSWERED]
    sources = [Row(columns={"prompt": "x"}, file="train.jsonl", line=i + 1) for i in range(len(rows))]
    encoded = EncodedSet(rows=rows, sources=sources, max_length=128)
    loaded = Loaded(small.llama(**SHAPE), tokenizer())
    return fit(run, loaded, encoded, None, False, small.context(run, folder), order=lambda _: range(len(rows)))


def theirs(folder: Path, trainer: Any, config: Any, **options: Any) -> Any:
    """TRL's trainer after training on the same completions, in the order of the rows."""
    from datasets import Dataset

    class Recording(trainer):  # type: ignore[misc]
        def _generate_single_turn(self, prompt_ids: Any, *_: Any) -> Any:
            seen: dict[tuple[int, ...], int] = {}
            found = []
            for prompt in map(tuple, prompt_ids):
                found.append(ANSWERED[prompt][seen.get(prompt, 0) % GENERATIONS])
                seen[prompt] = seen.get(prompt, 0) + 1
            return (found, None) if trainer.__name__ == "GRPOTrainer" else found

    def reward(score: Callable[[str], float]) -> Any:
        def judge(completions: list[str], **_: Any) -> list[float]:
            return [score(text) for text in completions]

        judge.__name__ = score.__name__
        return judge

    prompts = [" ".join(tokenizer().convert_ids_to_tokens(list(prompt))) for prompt in ANSWERED]
    base = arguments(folder) | {
        "max_steps": STEPS, "per_device_train_batch_size": PROMPTS * GENERATIONS,
        "gradient_accumulation_steps": ACCUMULATE, "num_generations": GENERATIONS, "max_completion_length": LONGEST,
        "shuffle_dataset": False, "reward_weights": [1.0, 0.5], "disable_dropout": False,
    }  # fmt: skip
    model = small.llama(**SHAPE)
    model.save_pretrained(folder / "found")
    model.config._name_or_path = str(folder / "found")  # TRL loads its reference from where the model came from
    made = Recording(
        model, reward_funcs=[reward(evenness), reward(shortness)], args=config(**base | options),
        train_dataset=Dataset.from_dict({"prompt": prompts}), processing_class=tokenizer(),
    )  # fmt: skip
    made.train()
    return made


def strategy(**fields: Any) -> Recorded:
    return Recorded(
        rewards=["evenness", "length"], reward_weights=[1.0, 0.5], generations=GENERATIONS, max_tokens=LONGEST, **fields
    )


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dapo": ({}, {"loss_type": "dapo"}),
    "grpo-kl": ({"loss_type": "grpo", "beta": 2.0}, {"loss_type": "grpo", "beta": 2.0}),
    "bnpo-masked": (  # TRL shuffles before it cuts a step into forward passes, whose means bnpo takes: so one pass
        {"loss_type": "bnpo", "mask_truncated": True, "batch__global_size": PROMPTS},
        {"loss_type": "bnpo", "mask_truncated_completions": True, "gradient_accumulation_steps": 1},
    ),
    "dr_grpo-unscaled": (
        {"loss_type": "dr_grpo", "scale_rewards": "none"}, {"loss_type": "dr_grpo", "scale_rewards": "none"}
    ),
    "dapo-warm-masked": (
        {"temperature": 0.7, "mask_truncated": True},
        {"loss_type": "dapo", "temperature": 0.7, "mask_truncated_completions": True},
    ),
}  # fmt: skip
"""Name → fields here, arguments of TRL."""


@pytest.mark.parametrize("case", CASES)
def test_grpo(tmp_path: Path, case: str) -> None:
    from trl import GRPOConfig, GRPOTrainer

    from tuneforge.strategy.grpo import LossType, ScaleRewards

    mine, options = CASES[case]
    kinds = {"loss_type": LossType, "scale_rewards": ScaleRewards}
    fields = {name: kinds[name](value) if name in kinds else value for name, value in mine.items() if "__" not in name}
    trainer = theirs(tmp_path, GRPOTrainer, GRPOConfig, **options)
    fitted = ours(tmp_path, strategy(**fields), **{name: value for name, value in mine.items() if "__" in name})
    history = [line for line in trainer.state.log_history if "loss" in line]
    for want, got in zip(history, fitted.history, strict=True):
        assert got["reward"] == pytest.approx(want["reward"], abs=1e-5)
        assert got["truncated"] == pytest.approx(want["completions/clipped_ratio"], abs=1e-6)
        assert got["completion_tokens"] == pytest.approx(want["completions/mean_length"], abs=1e-5)
        assert got["rewards/evenness"] == pytest.approx(want["rewards/evenness/mean"], abs=1e-5)
        assert got["groups_alike"] == pytest.approx(want["frac_reward_zero_std"], abs=1e-6)
        if "kl" in want:
            assert got["kl"] == pytest.approx(want["kl"], rel=0.2)  # TRL averages the means of forward passes
    agree(trainer, trainer.model, fitted)


def apart(trainer: Any, fitted: Any) -> float:
    pairs = zip(trainer.model.parameters(), fitted.model.parameters(), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def test_clipped_updates_on_the_same_answers(tmp_path: Path) -> None:
    """Two optimizer steps per roll-out, with a clip so narrow that the second meets it."""
    from trl import GRPOConfig, GRPOTrainer

    from tuneforge.scheduler.constant import Constant

    constant = {"lr_scheduler_type": "constant", "warmup_steps": 0, "learning_rate": 3e-3}
    narrow = {"epsilon": 0.02, "epsilon_high": 0.05}
    trainer = theirs(tmp_path, GRPOTrainer, GRPOConfig, num_iterations=2, loss_type="dapo", **constant, **narrow)
    clipped = [line["clip_ratio/region_mean"] for line in trainer.state.log_history if "loss" in line]
    assert max(clipped) > 0.05, "nothing was clipped"
    more = {"optimizer__learning_rate": 3e-3, "scheduler": Constant(warmup=0), "trainer__max_steps": STEPS // 2}
    fitted = ours(tmp_path, strategy(iterations=2, **narrow), **more)
    assert apart(trainer, fitted) < 1e-5
    unclipped = ours(tmp_path / "unclipped", strategy(iterations=2, epsilon=0.9, epsilon_high=9.0), **more)
    assert apart(trainer, unclipped) > 1e-4


def test_leave_one_out(tmp_path: Path) -> None:
    """RLOO sums over an answer's tokens: dr_grpo with max_tokens times the learning rate, under plain descent."""
    from trl import RLOOConfig, RLOOTrainer

    from tuneforge.optimizer.sgd import Sgd
    from tuneforge.scheduler.constant import Constant
    from tuneforge.strategy.grpo import Advantage, LossType

    rate = 1e-2
    trainer = theirs(
        tmp_path, RLOOTrainer, RLOOConfig, beta=0.0, normalize_advantages=False, optim="sgd", learning_rate=rate,
        lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1e9,
    )  # fmt: skip
    fitted = ours(
        tmp_path, strategy(advantage=Advantage.rloo, loss_type=LossType.dr_grpo), scheduler=Constant(warmup=0),
        optimizer=Sgd(momentum=0.0, weight_decay=0.0, learning_rate=rate * LONGEST), trainer__gradient_clip_val=None,
        optimizer__learning_rate=rate * LONGEST,
    )  # fmt: skip
    assert apart(trainer, fitted) < 1e-6
    found = small.llama(**SHAPE)
    assert (
        max(float((a - b).abs().max()) for a, b in zip(found.parameters(), fitted.model.parameters(), strict=True))
        > 1e-3
    )
