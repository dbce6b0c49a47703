"""How well the model predicts the references."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.conversation import offers
from tuneforge.rows import Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

COLUMNS = {"completion": "completion", "text": "text", "preference": "chosen"}
"""What a row offers → the column that is predicted."""


@dataclass(kw_only=True)
class Perplexity(Evaluator):
    """Bits per byte and perplexity of the answer given its prompt, of a plain text, or of the chosen answer.

    Bits per byte compare models with different tokenizers; perplexity, per token, does not. Both are of all
    rows together: a long row weighs more than a short one.
    """

    name: ClassVar[str] = "perplexity"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("bits_per_byte", False, bounds=(0.0, math.inf)),
        Metric("perplexity", False, bounds=(1.0, math.inf)),
    )
    record: ClassVar[str] = "completion"

    def serves(self, columns: Mapping[str, Any]) -> bool:
        """Any row with an answer or a text."""
        return any(offers(columns, record) for record in COLUMNS)

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`nats`, `tokens` and `bytes` of each row's column."""
        order = sorted(COLUMNS, key=lambda record: record != context.run.strategy.record)
        columns = [next(COLUMNS[r] for r in order if offers(row.columns, r)) for row in rows]
        found: list[Stats] = [{}] * len(rows)
        for column in dict.fromkeys(columns):
            places = [i for i, c in enumerate(columns) if c == column]
            for i, (nats, tokens, size) in zip(places, lm.log_probs([rows[i] for i in places], column), strict=True):
                found[i] = {"nats": -float(nats), "tokens": float(tokens), "bytes": float(size)}
        return found

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """From sums over the rows; NaN where there is nothing to predict."""
        nats, tokens, size = (float(stats[k].sum()) for k in ("nats", "tokens", "bytes"))
        if not tokens or not size:
            return {"bits_per_byte": math.nan, "perplexity": math.nan}
        return {"bits_per_byte": nats / size / math.log(2), "perplexity": math.exp(min(nats / tokens, 700.0))}
