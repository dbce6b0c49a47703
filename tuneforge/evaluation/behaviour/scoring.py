"""Another evaluator's score of each row, for evaluators that ask how it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tuneforge.components import LM, Context, Evaluator
from tuneforge.conversation import offers
from tuneforge.errors import ConfigError
from tuneforge.rows import Answer, Row, Stats

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats

DEFAULTS = {"label": "classification", "completion": "exact_match"}
"""What a row offers → the evaluator that scores it where the config names none."""


def scorable(columns: Mapping[str, Any]) -> bool:
    """Whether a row has an answer or a class that can be right."""
    return any(offers(columns, record) for record in DEFAULTS)


def scorer(asking: Evaluator, named: str, rows: Sequence[Row], context: Context) -> Evaluator:
    """The evaluator of that key or name; by default `classification` or `exact_match`, by what the rows offer.

    ConfigError for one that cannot read the rows.
    """
    default = next((name for record, name in DEFAULTS.items() if all(offers(r.columns, record) for r in rows)), "")
    said = f"evaluator.{type(asking).name}.evaluator={named or default}"
    if not named and not default:
        raise ConfigError(f"{said}: some rows have an answer and some a class; name what scores them")
    found = context.evaluator(named or default)
    odd = next((row for row in rows if not found.serves(row.columns)), None)
    if odd is not None:
        raise ConfigError(f"{said}: needs {type(found).record}, and {odd.place} has {', '.join(odd.columns)}")
    return found


def scores(asking: Evaluator, found: Evaluator, stats: Sequence[Stats]) -> Floats:
    """(n,) the first metric of each row; ConfigError where it is no figure of a row."""
    metric = found.metrics[0].name
    if stats and metric not in stats[0]:
        raise ConfigError(
            f"evaluator.{type(asking).name}.evaluator={type(found).name}: its {metric} is of all rows together;"
            " name one that scores each row, as exact_match or token_f1"
        )
    return np.array([one[metric] for one in stats], dtype=np.float64)


def measured(
    asking: Evaluator, found: Evaluator, lm: LM, rows: Sequence[Row], context: Context
) -> tuple[Floats, list[Answer | None]]:
    """(n,) scores of the rows, and the answers behind them; None where the scorer generates none."""
    from tuneforge.evaluation.lm import row_key

    heard = Heard(lm)
    if any(found is one and not one.sets for one in context.run.evaluator.values()):
        context = cast("Context", Quiet(context))  # it measures these rows itself, and says what there is to say
    given = scores(asking, found, list(found.measure(cast("LM", heard), rows, context)))
    return given, [heard.said.get(row_key(row)) for row in rows]


def judged(
    asking: Evaluator, found: Evaluator, rows: Sequence[Row], answers: Sequence[Answer], context: Context
) -> Floats:
    """(n,) scores of these answers; ConfigError of a scorer that asks the model by itself."""
    try:
        return scores(asking, found, list(found.judge(rows, answers, context)))
    except NotImplementedError:
        raise ConfigError(
            f"evaluator.{type(asking).name}.evaluator={type(found).name}: scores no answers; name one that does"
        ) from None


class Heard:
    """An LM that remembers the last answer to each row."""

    def __init__(self, lm: LM) -> None:
        self.lm = lm
        self.said: dict[str, Answer] = {}

    def generate(self, rows: Sequence[Row], max_tokens: int) -> list[Answer]:
        """As the LM; remembered."""
        from tuneforge.evaluation.lm import row_key

        found = self.lm.generate(rows, max_tokens)
        self.said.update({row_key(row): answer for row, answer in zip(rows, found, strict=True)})
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lm, name)


class Quiet:
    """A context whose notes are not said: the same rows, asked in other words, were spoken of before."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def note(self, text: str, **numbers: float) -> None:
        """Nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)
