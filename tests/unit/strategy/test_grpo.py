"""strategy=grpo: rewards, advantages, what is refused, what is logged, and that a reward rises."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from tests.unit.training import small
from tuneforge.components import Evaluator
from tuneforge.composition import compose_config
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.evaluator.answer_length import AnswerLength, Unit
from tuneforge.evaluator.exact_match import ExactMatch
from tuneforge.rows import Answer, Encoded, Metric, Rejected, Row
from tuneforge.strategy.grpo import Advantage, Grpo, LossType, ScaleRewards
from tuneforge.training.loss import policy


@dataclass(kw_only=True)
class Vowels(Evaluator):
    """A third party's evaluator: a ratio of sums, of which less is better."""

    name: ClassVar[str] = "vowels"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("vowel_rate", higher_is_better=False),)
    record: ClassVar[str] = "prompt"

    def score(self, row: Row, answer: Answer) -> dict[str, float]:
        return {"vowels": sum(c in "aeiou" for c in answer.text), "letters": max(len(answer.text), 1)}

    def aggregate(self, stats: Any) -> dict[str, float]:
        return {"vowel_rate": float(stats["vowels"].sum() / stats["letters"].sum())}


ROWS = [
    Row(columns={"prompt": "Reset my VPN, please.", "completion": "network"}, file="t.jsonl", line=1),
    Row(columns={"prompt": "Hello there, how are you today?", "completion": "fine"}, file="t.jsonl", line=2),
    Row(columns={"prompt": "The answer", "completion": "forty-two"}, file="t.jsonl", line=3),
]


def grpo(**fields: Any) -> Grpo:
    return Grpo(**{"rewards": ["vowels"], "generations": 4, "max_tokens": 6} | fields)


# ---------------------------------------------------------------- tensors


def test_advantages_are_those_of_the_formulas() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 3.0], [2.0, 2.0, 2.0, 2.0]], dtype=torch.float64)
    found = policy.advantages(rewards, leave_one_out=False, scale="group")
    mean, std = 1.0, (2 * 1 + 0 + 4) ** 0.5 / 3**0.5
    assert found[0].tolist() == pytest.approx([(r - mean) / (std + 1e-4) for r in (1, 0, 0, 3)])
    assert found[1].abs().max() == 0, "answers that are all alike teach nothing"
    alone = policy.advantages(rewards, leave_one_out=True, scale="none")
    assert alone[0].tolist() == pytest.approx([1 - 1, 0 - 4 / 3, 0 - 4 / 3, 3 - 1 / 3])
    batch = policy.advantages(rewards, leave_one_out=False, scale="batch")
    assert batch[0].tolist() == pytest.approx([r / (float(rewards.std()) + 1e-4) for r in (0, -1, -1, 2)])


def test_sums_of_each_loss() -> None:
    losses = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    keep = torch.tensor([[True, True, False], [True, False, False]])
    found = {k: [float(v) for v in policy.summed(losses, keep, k, 10)] for k in ("grpo", "bnpo", "dr_grpo", "dapo")}
    assert found["grpo"] == pytest.approx([1.5 + 4, 2])
    assert found["bnpo"] == pytest.approx([7 / 3, 1])
    assert found["dr_grpo"] == pytest.approx([7 / 10, 2])
    assert found["dapo"] == pytest.approx([7, 3])


def test_the_ratio_is_clipped_only_where_that_lowers_the_gain() -> None:
    old = torch.zeros(1, 2)
    new = torch.tensor([[0.5, -0.5]])
    gain = policy.surrogate(new, old, torch.tensor([1.0]), policy.Clip(0.2, 0.3))
    assert gain[0].tolist() == pytest.approx([-1.3, -float(torch.tensor(-0.5).exp())])
    loss = policy.surrogate(new, old, torch.tensor([-1.0]), policy.Clip(0.2, 0.3))
    assert loss[0].tolist() == pytest.approx([float(torch.tensor(0.5).exp()), 0.8])


def test_a_reward_is_the_first_metric_of_one_answer_and_must_be_a_number() -> None:
    context: Any = None
    found = policy.rewards({"v": Vowels(), "e": ExactMatch()}, ROWS[:2], [Answer("aab"), Answer("fine")], context)
    assert found.tolist() == [[pytest.approx(-2 / 3), 0.0], [-0.5, 1.0]]

    class Broken(Vowels):
        def aggregate(self, stats: Any) -> dict[str, float]:
            return {"vowel_rate": float("nan")}

    with pytest.raises(TuneForgeError, match=r"reward v is nan for an answer to t.jsonl:1"):
        policy.rewards({"v": Broken()}, ROWS[:1], [Answer("x")], context)


# ---------------------------------------------------------------- rows


def test_prompts_become_tokens_and_the_rest_is_rejected(make_run: Any, tokenizer: Any) -> None:
    strategy = grpo(rewards=["exact_match"], max_tokens=40)
    run, context = make_run(strategy=strategy, evaluator={"exact_match": ExactMatch()})
    run.batch.max_length = 64
    rows = [
        ROWS[0],
        Row(columns={"prompt": "only asked"}),
        Row(columns={"text": "no prompt"}),
        Row(columns={"prompt": "long " * 60, "completion": "x"}),
        Row(columns={"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
    ]
    found = list(strategy.encode(rows, tokenizer, context))
    assert [isinstance(one, Encoded) for one in found] == [True, False, False, False, True]
    assert tokenizer.decode(found[0].parts["prompt.input_ids"]).endswith("<|im_start|>assistant\n")
    reasons = [one.reason for one in found if isinstance(one, Rejected)]
    assert reasons[0] == "the row lacks what a reward needs: exact_match (completion)"
    assert reasons[1].startswith("needs a prompt, or messages that end with the assistant, the row has text")
    assert "tokens of prompt and strategy.max_tokens=40 of answer, and batch.max_length is 64" in reasons[2]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "strategy.rewards is empty: name what is rewarded"),
        (["strategy.rewards=[exact_mach]"], "no evaluator 'exact_mach'. Did you mean 'exact_match'?"),
        (["strategy.rewards=[perplexity]"], "'perplexity' measures a model and cannot score an answer"),
        (["strategy.rewards=[reward_model]"], "evaluator 'reward_model': path is empty"),
        (["strategy.rewards=[exact_match]", "strategy.generations=1"], "so 2 or more are needed"),
        (["strategy.rewards=[exact_match]", "strategy.temperature=0"], "equal answers teach nothing"),
        (["strategy.rewards=[exact_match]", "strategy.reward_weights=[1,2]"], "2 weights for 1 rewards"),
        (["strategy.rewards=[exact_match]", "strategy.epsilon=1.5"], "must be between 0 and 1"),
        (
            ["strategy.rewards=[exact_match]", "strategy.scale_rewards=batch", "batch.global_size=16"],
            "prompts at a time, not over batch.global_size=16; make both equal",
        ),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose_config(["strategy=grpo", *overrides])
    assert said in str(refused.value)


def test_the_refusal_lists_what_is_there() -> None:
    with pytest.raises(ConfigError, match=r"available: answer_format, answer_length, .*exact_match"):
        compose_config(["strategy=grpo"])
    run = compose_config(["strategy=grpo", "+evaluator@evaluator.short=answer_length", "strategy.rewards=[short]"]).run
    assert run.evaluator["short"] == AnswerLength()


def test_a_model_without_a_stop_token_does_not_fit(make_run: Any) -> None:
    from tuneforge.rows import Loaded

    run, context = make_run(strategy=grpo())
    model, tokenizer = run.model.load("causal_lm", context)
    assert list(run.strategy.fits(Loaded(model, tokenizer), context)) == []
    tokenizer.eos_token = tokenizer.chat_template = None
    model.generation_config.eos_token_id = None
    [reason] = run.strategy.fits(Loaded(model, tokenizer), context)
    assert "no token that ends an answer" in reason


# ---------------------------------------------------------------- training


def fitted(folder: Path, make_run: Any, strategy: Grpo, **values: Any) -> Any:
    from tuneforge.training.fit import fit
    from tuneforge.training.text.encode import encode

    run, _ = make_run(
        strategy=strategy, evaluator={"vowels": Vowels(), "words": AnswerLength(most=1, slack=25, unit=Unit.characters)}
    )
    chosen = small.settings(
        strategy, **{"batch__size": 2, "trainer__max_steps": 3, "trainer__max_epochs": None} | values
    )
    chosen.model, chosen.evaluator = run.model, run.evaluator
    context = RunContext(chosen, folder)
    loaded = chosen.model.load("causal_lm", context)
    rows = encode(chosen, ROWS, loaded.tokenizer, context)
    return fit(chosen, loaded, rows, rows if values.get("trainer__val_check_interval") else None, False, context)


def test_everything_about_the_answers_is_logged(tmp_path: Path, make_run: Any) -> None:
    strategy = grpo(rewards=["vowels", "words"], reward_weights=[2.0, 1.0], beta=0.1, mask_truncated=True)
    history = fitted(tmp_path, make_run, strategy, trainer__val_check_interval=3, seed=3).history
    line = history[0]
    assert line["reward"] == pytest.approx(2 * line["rewards/vowels"] + line["rewards/words"], abs=1e-6)
    assert -1 <= line["rewards/vowels"] <= 0 <= line["rewards/words"] <= 1
    assert 0 < line["completion_tokens"] <= 6
    assert 0 < line["truncated"] <= 1
    assert 0 <= line["groups_alike"] <= 1
    assert line["kl"] == pytest.approx(0, abs=1e-6)
    assert 0 < line["rewards/words/std"] < 1
    assert "validation_loss" not in line
    assert -1 < history[-1]["validation_loss"] < 2.5, "minus the reward of greedy answers"


@torch.no_grad()
def distance(one: Any, other: Any) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("loss", list(LossType))
def test_a_step_cut_into_micro_batches_is_the_step(tmp_path: Path, make_run: Any, loss: LossType) -> None:
    """The very answers are the same, however prompts are cut; bnpo alone averages over a forward pass."""
    from tuneforge.optimizer.sgd import Sgd

    plain = {
        "optimizer": Sgd(momentum=0.0, learning_rate=0.5),
        "optimizer__learning_rate": 0.5,
        "trainer__max_steps": 2,
    }
    ways = [{"batch__size": 3}, {"batch__size": 1, "batch__global_size": 3}]
    models = [
        fitted(tmp_path / str(i), make_run, grpo(loss_type=loss, rewards=["words"], max_tokens=9), **plain, **way).model
        for i, way in enumerate(ways)
    ]
    apart = distance(*models)
    assert apart < 1e-6 or loss is LossType.bnpo
    run, context = make_run()
    start = run.model.load("causal_lm", context).model
    assert distance(models[0], start) > 1e-4


@pytest.mark.parametrize("advantage", list(Advantage))
def test_the_reward_rises(tmp_path: Path, make_run: Any, advantage: Advantage) -> None:
    """A random model learns to answer with few characters within a few steps."""
    strategy = grpo(
        rewards=["words"], generations=16, max_tokens=6, advantage=advantage, scale_rewards=ScaleRewards.group
    )
    found = fitted(tmp_path, make_run, strategy, trainer__max_steps=20, batch__size=3, optimizer__learning_rate=1e-2)
    rewards = [line["reward"] for line in found.history]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1


def test_a_plugins_evaluator_is_a_reward_on_the_command_line(tmp_path: Path) -> None:
    """Composed, saved and loaded through the door of runs, with nothing but public names."""
    from tuneforge import plugins, saved
    from tuneforge.hookspecs import hookimpl

    class Plugin:
        @hookimpl
        def tuneforge_evaluator(self) -> list[type[Evaluator]]:
            return [Vowels]

    catalogue = plugins.load()
    owner = plugins.Owner("tuneforge-vowels", "1", "vowels")
    assert plugins.class_problem("evaluator", Vowels) is None
    catalogue.components["evaluator/vowels"], catalogue.owners["evaluator/vowels"] = (
        Plugin().tuneforge_evaluator()[0],
        owner,
    )
    try:
        composed = compose_config(
            ["strategy=grpo", "evaluator=[vowels]", "strategy.rewards=[vowels]"], catalogue=catalogue
        )
        saved.save(tmp_path, composed)
        run = saved.load(tmp_path, catalogue)
        context = RunContext(run, tmp_path)
        assert policy.rewards({"vowels": context.evaluator("vowels")}, ROWS[:1], [Answer("ab")], context).item() == -0.5
        assert json.loads((tmp_path / "types.json").read_text())["evaluator.vowels"] == "evaluator/vowels"
    finally:
        del catalogue.components["evaluator/vowels"], catalogue.owners["evaluator/vowels"]
