"""Reward modelling (Bradley and Terry 1952; Ouyang et al. 2022, arXiv:2203.02155)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.rows import Encoded, Loaded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run
    from tuneforge.training.text.literal import RenderError


@dataclass(kw_only=True)
class Reward(Strategy):
    """Reward modelling: a number for an answer, higher for the chosen than for the rejected one (Bradley-Terry).

    The number is read off the last token by a sequence classification head with one output, as stock
    libraries load it. A row may hold a `margin`, by which the chosen answer is to win.
    """

    name: ClassVar[str] = "reward"
    record: ClassVar[str] = "preference"
    head: ClassVar[str] = "reward"
    learning_rate: ClassVar[float] = 1e-5
    unit: ClassVar[str] = "pairs"
    evaluators: ClassVar[tuple[str, ...]] = ("reward_accuracy",)

    center_rewards_coefficient: float = 0.0
    """Weight of the squared sum of a pair's rewards, which keeps them around 0 (arXiv:2312.09244; 0.01 is usual)."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range."""
        if self.center_rewards_coefficient < 0:
            yield f"strategy.center_rewards_coefficient={self.center_rewards_coefficient} must be 0 or more"

    def fits(self, loaded: Loaded, context: Context) -> Iterable[str]:
        """A model that could not tell where a padded row ends."""
        if getattr(loaded.model.config.get_text_config(), "pad_token_id", None) is None:
            yield "the model's config names no pad_token_id, by which its head finds the last token of a row"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Parts `chosen.input_ids` and `rejected.input_ids`, prompt and answer; `margin` in the extras."""
        from tuneforge.training.objective import encode_each

        return encode_each(rows, self.record, lambda columns: self._encode(columns, tokenizer))

    def _encode(self, columns: list[Mapping[str, Any]], tokenizer: Tokenizer) -> list[Encoded | RenderError]:
        from tuneforge.training.objective import pairs_of
        from tuneforge.training.text.literal import RenderError

        found: list[Encoded | RenderError] = []
        for row, pair in zip(columns, pairs_of(columns, tokenizer), strict=True):
            if isinstance(pair, RenderError):
                found.append(pair)
                continue
            ids = {name: ids for name, ids in pair.parts.items() if name.endswith("input_ids")}
            found.append(Encoded(ids, {"margin": float(row.get("margin") or 0.0)}))
        return found

    def loss_items(self, encoded: Encoded) -> int:
        """One pair."""
        return 1

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """-log sigmoid of the difference of rewards, summed over pairs; rewards are logged as sums over pairs."""
        from torch.nn.functional import logsigmoid

        from tuneforge.training.objective import reward_logs

        chosen, rejected = (_rewards(model, batch, side) for side in ("chosen", "rejected"))
        total = -logsigmoid(chosen - rejected - batch["margin"]).sum()
        if self.center_rewards_coefficient:
            total = total + self.center_rewards_coefficient * ((chosen + rejected) ** 2).sum()
        return Loss(total, len(chosen), reward_logs(chosen, rejected))


def _rewards(model: Module, batch: Batch, side: str) -> Tensor:
    """(pairs,) float32 rewards of one side."""
    fields = {name: batch[f"{side}.{name}"] for name in ("input_ids", "attention_mask")}
    rewards: Tensor = model(**fields, use_cache=False).logits.squeeze(-1).float()
    return rewards
