"""Whether a reward model gives the chosen answer more than the rejected one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import Metric, Row, Stats


@dataclass(kw_only=True)
class RewardAccuracy(Evaluator):
    """Share of pairs whose chosen answer has the higher reward; a tie counts ½.

    `reward_margin` is the mean difference of the two rewards, in the model's own unit; a rule has none.
    """

    name: ClassVar[str] = "reward_accuracy"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("reward_accuracy"), Metric("reward_margin", own_unit=True, share=False),
    )  # fmt: skip
    record: ClassVar[str] = "preference"

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`reward_accuracy` (1, 0 or ½) and `reward_margin` per row."""
        chosen, rejected = (lm.reward(rows, column) for column in ("chosen", "rejected"))
        return [
            {"reward_accuracy": (1 + float(a > b) - float(a < b)) / 2, "reward_margin": float(a - b)}
            for a, b in zip(chosen, rejected, strict=True)
        ]
