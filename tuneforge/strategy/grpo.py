"""Group-relative policy optimisation (Shao et al. 2024, arXiv:2402.03300)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge import plugins
from tuneforge.components import Context, Evaluator, Step, Strategy
from tuneforge.errors import nearest
from tuneforge.rows import Answer, Encoded, Loaded, Loss, Rejected, Row, Sampling

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run


class LossType(StrEnum):
    """How the loss of tokens becomes that of a step."""

    grpo = "grpo"
    bnpo = "bnpo"
    dr_grpo = "dr_grpo"
    dapo = "dapo"


class Advantage(StrEnum):
    """What a reward is compared with."""

    grpo = "grpo"
    rloo = "rloo"


class ScaleRewards(StrEnum):
    """What a difference of rewards is divided by."""

    group = "group"
    batch = "batch"
    none = "none"


@dataclass(kw_only=True)
class Grpo(Strategy):
    """Group-relative policy optimisation: of several sampled answers to a prompt, the better ones become likelier.

    Evaluators give the rewards. Each step samples `generations` answers per prompt and takes `iterations`
    optimizer steps on them; in the first the ratio of probabilities is 1 and its gradient the policy gradient, and
    only later ones are clipped. `batch.size` counts prompts, and a forward pass holds `generations` times as many
    sequences. In validation the loss is minus the mean reward of greedy answers.
    """

    name: ClassVar[str] = "grpo"
    record: ClassVar[str] = "prompt"
    learning_rate: ClassVar[float] = 1e-6
    unit: ClassVar[str] = "completions"
    evaluators: ClassVar[tuple[str, ...]] = ("exact_match", "perplexity")

    rewards: list[str] = field(default_factory=list)
    """Evaluators whose first metric is the reward: keys of `evaluator`, or names of installed ones."""
    reward_weights: list[float] = field(default_factory=list)
    """One weight per reward; empty: each counts 1."""
    generations: int = 8
    """Answers sampled per prompt."""
    max_tokens: int = 256
    """Most tokens of an answer; one without a stop token by then is truncated."""
    temperature: float = 1.0
    """Sampling temperature; log-probabilities are those of the distribution that is sampled."""
    top_p: float = 1.0
    """Sample from the fewest likeliest tokens that reach this probability; 1: from all."""
    top_k: int = 0
    """Sample from so many likeliest tokens; 0: from all."""
    loss_type: LossType = LossType.dapo
    """dapo: mean over the step's tokens; grpo: over each answer's, then answers; dr_grpo: sum / max_tokens; bnpo: mean
    over one forward pass."""
    advantage: Advantage = Advantage.grpo
    """grpo: reward less the group's mean; rloo: less that of the other answers (leave-one-out, arXiv:2402.14740)."""
    scale_rewards: ScaleRewards | None = None
    """Divide by the standard deviation of the group, of the batch, or none; null: group with grpo, none with rloo."""
    iterations: int = 1
    """Optimizer steps on each batch of answers."""
    epsilon: float = 0.2
    """The ratio of probabilities is clipped below 1 - epsilon; needs iterations above 1 to matter."""
    epsilon_high: float | None = None
    """It is clipped above 1 + epsilon_high; null: epsilon."""
    beta: float = 0.0
    """Weight of the divergence from the model as this run found it; 0: no reference is kept."""
    mask_truncated: bool = False
    """Truncated answers carry no loss (arXiv:2503.14476)."""

    def check(self, run: Run) -> Iterable[str]:
        """Rewards that are not there or cannot score, and fields out of range."""
        yield from self._reward_problems(run)
        if self.generations < 2:
            yield f"strategy.generations={self.generations}: an answer is compared with others, so 2 or more are needed"
        for name in ("max_tokens", "iterations"):
            if getattr(self, name) < 1:
                yield f"strategy.{name}={getattr(self, name)} must be 1 or more"
        if self.temperature <= 0:
            yield f"strategy.temperature={self.temperature} must be above 0: equal answers teach nothing"
        if not 0 < self.top_p <= 1:
            yield f"strategy.top_p={self.top_p} must be above 0 and at most 1"
        if self.top_k < 0 or self.beta < 0:
            yield f"strategy.top_k={self.top_k} and strategy.beta={self.beta} must not be negative"
        high = self.epsilon if self.epsilon_high is None else self.epsilon_high
        if not 0 < self.epsilon < 1 or high <= 0:
            yield f"strategy.epsilon={self.epsilon} must be between 0 and 1, strategy.epsilon_high={high} above 0"
        if self.scale_rewards is ScaleRewards.batch and run.batch.global_size not in (None, run.batch.size):
            yield (
                f"strategy.scale_rewards=batch: rewards are scaled over {run.batch.size} prompts at a time, not over"
                f" batch.global_size={run.batch.global_size}; make both equal, or set strategy.scale_rewards=group"
            )

    def _reward_problems(self, run: Run) -> Iterator[str]:
        installed = {r.split("/")[1]: c for r, c in plugins.load().components.items() if issubclass(c, Evaluator)}
        known = sorted({*run.evaluator, *(name for name, cls in installed.items() if _judges(cls))})
        listed = f"available: {', '.join(known)}"
        if not self.rewards:
            yield f"strategy.rewards is empty: name what is rewarded, as strategy.rewards=[exact_match]; {listed}"
        for name in self.rewards:
            judge = run.evaluator.get(name) or (installed[name]() if name in installed else None)
            if judge is None:
                yield f"strategy.rewards: there is no evaluator '{name}'.{nearest(name, known)} {listed}"
            elif not _judges(type(judge)):
                yield f"strategy.rewards: evaluator '{name}' measures a model and cannot score an answer; {listed}"
            elif name not in run.evaluator:
                yield from (f"strategy.rewards: evaluator '{name}': {reason}" for reason in judge.check(run))
        if self.reward_weights and len(self.reward_weights) != len(self.rewards):
            yield f"strategy.reward_weights: {len(self.reward_weights)} weights for {len(self.rewards)} rewards"

    def fits(self, loaded: Loaded, context: Context) -> Iterable[str]:
        """A model that cannot generate or never stops; a batch that devices would cut."""
        from tuneforge.evaluation.decoding import forward_options
        from tuneforge.training.optimise import device_count
        from tuneforge.training.text.render import stop_ids

        if not forward_options(loaded.model, past_key_values=None):
            yield f"sampling needs a key-value cache, which {type(loaded.model).__name__} does not have"
        if not stop_ids(loaded.tokenizer, loaded.model):
            yield "the tokenizer has no token that ends an answer, so every answer would be truncated"
        if self.scale_rewards is ScaleRewards.batch and device_count(context.run) > 1:
            yield "scale_rewards=batch needs all prompts on one device: set trainer.devices=1 or scale_rewards=group"

    @property
    def divisible(self) -> bool:
        """Not where rewards are scaled over a batch, or the loss is a mean over one."""
        return self.scale_rewards is not ScaleRewards.batch and self.loss_type is not LossType.bnpo

    def updates(self) -> int:
        """Optimizer steps on each batch of answers."""
        return self.iterations

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """The prompt's tokens, part `prompt`; rejected where a reward cannot be given or an answer has no room."""
        from tuneforge.training.text.encode import max_length
        from tuneforge.training.text.render import RenderError, prompt_ids

        limit = max_length(context.run, context.run.model.config())
        judges = self._judges(context)
        for row in rows:
            reason = self._unusable(row, judges)
            if reason:
                yield Rejected(row, reason)
                continue
            try:
                ids = prompt_ids(row.columns, tokenizer)
            except RenderError as error:
                yield Rejected(row, str(error))
                continue
            if len(ids) + self.max_tokens > limit or not ids:
                yield Rejected(row, _no_room(len(ids), self.max_tokens, limit))
            else:
                yield Encoded({"prompt.input_ids": ids})

    def _unusable(self, row: Row, judges: dict[str, Evaluator]) -> str:
        from tuneforge.conversation import offers
        from tuneforge.training.objective import misfit

        if not offers(row.columns, self.record):
            return misfit(row.columns, self.record)
        lacking = [f"{name} ({judge.record})" for name, judge in judges.items() if not judge.serves(row.columns)]
        return f"the row lacks what a reward needs: {', '.join(lacking)}" if lacking else ""

    def loss_items(self, encoded: Encoded) -> int:
        """The answers that will be sampled."""
        return self.generations

    def begin(self, rows: Sequence[Encoded], step: Step) -> None:
        """Keep the reference, where the divergence from it counts."""
        if self.beta:
            step.keep_reference()

    def roll_out(self, model: Module, batch: Batch, step: Step) -> Batch:
        """Sampled answers with their advantages: `input_ids`, `attention_mask`, `labels`, `advantages`, and logs."""
        from tuneforge.training.loss import policy

        sampling = Sampling(self.max_tokens, self.temperature, self.top_p, self.top_k)
        streams = step.streams(len(batch["prompt.input_ids"]))
        rolled = step.generate(model, batch, self.generations, sampling, "prompt", streams)
        each = self._rewards(rolled, self.generations, step)
        total = (each @ self._weights(each)).view(-1, self.generations)
        found = policy.advantages(total, self.advantage is Advantage.rloo, self._scale.value)
        rolled["advantages"] = found.flatten().float().to(rolled["input_ids"].device)
        rolled |= {f"log.{name}": value for name, value in self._logs(each, total, rolled).items()}
        if self.mask_truncated:
            rolled["labels"] = rolled["labels"].masked_fill(rolled["truncated"].unsqueeze(1), -100)
        if self.beta:
            rolled["reference"] = step.reference_token_log_probs(rolled, temperature=self.temperature)
        return rolled

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """The clipped surrogate; in validation, where nothing is rolled out, minus the reward of greedy answers."""
        from tuneforge.training.loss import policy

        if "advantages" not in batch:
            return self._validation(model, batch, step)
        scores, keep = step.token_log_probs(model, batch, temperature=self.temperature)
        old = batch.get("old", scores.detach())
        if self.iterations > 1:
            batch["old"] = old
        clip = policy.Clip(self.epsilon, self.epsilon if self.epsilon_high is None else self.epsilon_high)
        losses = policy.surrogate(scores, old, batch["advantages"], clip)
        logs = {name.removeprefix("log."): value for name, value in batch.items() if name.startswith("log.")}
        tokens = keep.sum()
        # The mean of -log p over what was sampled is an unbiased estimate of the entropy.
        logs["entropy"] = policy.over(-(scores.detach() * keep).sum(), tokens)
        if self.beta:
            apart = policy.divergence(scores, batch["reference"], old)
            losses = losses + self.beta * apart
            logs["kl"] = policy.over((apart.detach() * keep).sum(), tokens)
        total, items = policy.summed(losses, keep, self.loss_type.value, self.max_tokens)
        return Loss(total, items, logs)

    def _validation(self, model: Module, batch: Batch, step: Step) -> Loss:
        greedy = step.generate(model, batch, 1, Sampling(self.max_tokens, temperature=0.0), "prompt")
        each = self._rewards(greedy, 1, step)
        return Loss(-(each @ self._weights(each)).sum().to(greedy["input_ids"].device), len(each))

    def _rewards(self, rolled: Batch, n: int, step: Step) -> Tensor:
        """(answers, rewards) float64."""
        from tuneforge.training.loss import policy

        answers = []
        for ids, labels, mask, truncated in zip(
            rolled["input_ids"], rolled["labels"], rolled["attention_mask"], rolled["truncated"].tolist(), strict=True
        ):
            said = ids[labels != -100].tolist()
            text = str(step.tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False))
            tokens = len(said) - (not truncated)
            finish = "length" if truncated else "stop"
            answers.append(Answer(text, finish=finish, prompt_tokens=int(mask.sum()) - len(said), tokens=tokens))
        rows = [row for row in step.rows for _ in range(n)]
        return policy.rewards(self._judges(step.context), rows, answers, step.context)

    def _logs(self, each: Tensor, total: Tensor, rolled: Batch) -> dict[str, Tensor]:
        """Sum and count of what the answers were like: rewards, groups without a difference, lengths, truncation."""
        from tuneforge.training.loss import policy

        spread = each.view(*total.shape, -1).std(1)
        logs = {
            "reward": policy.mean(total),
            "reward/std": policy.mean(total.std(1)),
            "groups_alike": policy.mean(total.std(1) < 1e-8),
        }
        for at, name in enumerate(self.rewards):
            logs |= {f"rewards/{name}": policy.mean(each[:, at]), f"rewards/{name}/std": policy.mean(spread[:, at])}
        lengths = (rolled["labels"] != -100).sum(1)
        return logs | {"completion_tokens": policy.mean(lengths), "truncated": policy.mean(rolled["truncated"])}

    def _judges(self, context: Context) -> dict[str, Evaluator]:
        return {name: context.evaluator(name) for name in self.rewards}

    def _weights(self, like: Tensor) -> Tensor:
        return like.new_tensor(self.reward_weights or [1.0] * len(self.rewards))

    @property
    def _scale(self) -> ScaleRewards:
        if self.scale_rewards is not None:
            return self.scale_rewards
        return ScaleRewards.none if self.advantage is Advantage.rloo else ScaleRewards.group


def _judges(cls: type[Evaluator]) -> bool:
    """Whether the evaluator can score a given answer."""
    return cls.score is not Evaluator.score or cls.judge is not Evaluator.judge


def _no_room(prompt: int, answer: int, limit: int) -> str:
    asked = f"{prompt:,} tokens of prompt and strategy.max_tokens={answer} of answer"
    return f"too long: {asked}, and batch.max_length is {limit}" if prompt else "the prompt is empty"
