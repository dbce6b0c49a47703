"""How well a masked language model predicts hidden tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray


@dataclass(kw_only=True)
class MaskedPerplexity(Evaluator):
    """Perplexity per hidden token of plain texts, of which a fixed 15 % is hidden as in training.

    The same tokens are hidden for every model with the same tokenizer. It is of all rows together, so a long
    row weighs more than a short one, and does not compare between tokenizers.
    """

    name: ClassVar[str] = "masked_perplexity"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("masked_perplexity", False, bounds=(1.0, math.inf)),)
    record: ClassVar[str] = "text"

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`nats` and `tokens` of each row's hidden tokens."""
        return [{"nats": -float(nats), "tokens": float(n)} for nats, n, _ in lm.log_probs(rows, "text")]

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """From sums over the rows; NaN where nothing was hidden."""
        nats, tokens = (float(stats[k].sum()) for k in ("nats", "tokens"))
        return {"masked_perplexity": math.exp(min(nats / tokens, 700.0)) if tokens else math.nan}
