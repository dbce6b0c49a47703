"""Whether the model finds the chosen answer likelier than the rejected one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import Metric, Row, Stats


@dataclass(kw_only=True)
class PreferenceAccuracy(Evaluator):
    """Share of pairs whose chosen answer has the higher log-probability per token; a tie counts ½.

    `margin` is the mean difference in nats per token. Both are the model's own, without a reference model,
    so that base and tuned compare.
    """

    name: ClassVar[str] = "preference_accuracy"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("preference_accuracy"), Metric("margin"))
    record: ClassVar[str] = "preference"

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`preference_accuracy` (1, 0 or ½) and `margin` per row."""
        sides = [lm.log_probs(rows, column) for column in ("chosen", "rejected")]
        # An empty answer has no tokens, and no log-probability to divide.
        chosen, rejected = (s[:, 0] / s[:, 1].clip(min=1) for s in sides)
        return [
            {"preference_accuracy": (1 + float(a > b) - float(a < b)) / 2, "margin": float(a - b)}
            for a, b in zip(chosen, rejected, strict=True)
        ]
