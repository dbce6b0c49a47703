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
    so that base and tuned compare. An empty answer has no tokens to divide by: its pair is a tie, and counted. A pair
    that cannot be rendered is wrong.
    """

    name: ClassVar[str] = "preference_accuracy"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("preference_accuracy"), Metric("margin", share=False))
    record: ClassVar[str] = "preference"

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`preference_accuracy` (1, 0 or ½) and `margin` per row."""
        sides = [lm.log_probs(rows, column) for column in ("chosen", "rejected")]
        tokens = [side[:, 1] for side in sides]
        both, neither = (tokens[0] > 0) & (tokens[1] > 0), (tokens[0] == 0) & (tokens[1] == 0)
        empty = int((~both & ~neither).sum())
        if empty:
            said = f"an answer is empty in {empty:,} of {len(rows):,} pairs, which count as ties"
            context.note(f"preference_accuracy of {lm.variant}: {said}", rows=empty)
        chosen, rejected = (side[:, 0] / side[:, 1].clip(min=1) for side in sides)
        return [
            {"preference_accuracy": (1 - lost + float(a > b) - float(a < b)) / 2, "margin": float(a - b)}
            for a, b, lost in zip(chosen * both, rejected * both, neither.astype(float), strict=True)
        ]
