"""How sure a variant is of what it says, whether it is right, and on which rows that is learnt rather than measured."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from tuneforge.components import LM, Context
from tuneforge.conversation import classes, offers, right_choice
from tuneforge.errors import ConfigError
from tuneforge.evaluation.behaviour.scoring import Heard
from tuneforge.evaluation.choices import answered, likely
from tuneforge.evaluation.lm import row_key
from tuneforge.rows import Answer, Row

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats

LEAST = 1e-12
"""Probability that stands for none at all, and its distance from certainty."""


@dataclass(frozen=True)
class Scored:
    """What a variant could have said of n rows, and did."""

    scores: Floats
    """(n, k) log-probabilities of what could be said, up to a constant; -inf where a row has fewer than k."""
    said: NDArray[np.intp]
    """(n,) which of them it said."""
    true: NDArray[np.intp]
    """(n,) which is true."""

    @property
    def right(self) -> Floats:
        """(n,) 1 where what it said is true, else 0."""
        return cast("Floats", (self.said == self.true).astype(np.float64))

    def confidence(self, temperature: float = 1.0) -> Floats:
        """(n,) its probability of what it said, at a temperature."""
        logs: Floats = _log_softmax(self.scores / temperature)[np.arange(len(self.said)), self.said]
        return cast("Floats", np.exp(logs))


def kind(columns: Mapping[str, Any]) -> str:
    """Where confidence comes from: `label` (one class per text), `choices`, `answer`, or empty: from nowhere."""
    if columns.get("choices"):
        return "choices" if right_choice(columns) is not None else ""
    if offers(columns, "label"):
        return "" if isinstance(columns["label"], list) else "label"
    return "answer" if offers(columns, "completion") else ""


def scored(lm: LM, rows: Sequence[Row], context: Context, judge: str) -> Scored:
    """Classes: their probabilities. Choices: the softmax of their log-probabilities. Generated answers: the mean
    probability of their tokens, exp(log-probability / tokens), against its complement; `judge` says which are right.

    A row of which the right choice cannot be scored counts as wrong, and as not believed at all, as an answer with an
    error does. ConfigError for rows of several kinds, and for a variant that does not know how likely its answers are.
    """
    found = dict.fromkeys(kind(row.columns) for row in rows)
    if len(found) > 1:
        raise ConfigError(
            f"confidence comes from one kind of rows at a time, these have {' and '.join(found)}: give each evaluation"
            " set an evaluator of its own (evaluator.X.sets)"
        )
    if "answer" in found:
        return _answers(lm, rows, context, judge)
    return _classes(lm, rows, context) if "label" in found else _choices(lm, rows, context)


def _classes(lm: LM, rows: Sequence[Row], context: Context) -> Scored:
    index = {name: i for i, name in enumerate(context.labels)}
    named = [(classes(row.columns) or [""])[0] for row in rows]
    odd = next((row.place for row, name in zip(rows, named, strict=True) if name not in index), None)
    if odd:
        raise ConfigError(f"{odd}: the model has no class '{named[[r.place for r in rows].index(odd)]}'")
    shares = np.asarray(lm.predict(rows), dtype=np.float64)
    return Scored(np.log(shares.clip(LEAST)), shares.argmax(1), np.array([index[name] for name in named]))


def _choices(lm: LM, rows: Sequence[Row], context: Context) -> Scored:
    counts = [len(row.columns["choices"]) for row in rows]
    asked = [answered(row, str(choice)) for row in rows for choice in row.columns["choices"]]
    scores = np.full((len(rows), max(counts)), -np.inf)
    there = np.arange(max(counts)) < np.array(counts)[:, None]
    scores[there] = likely(lm.log_probs(asked, "completion"))
    true = np.array([right_choice(row.columns) for row in rows], dtype=np.intp)
    said, places = scores.argmax(1), np.arange(len(rows))
    failed = ~np.isfinite(scores[places, true])
    said[failed] = (true[failed] + 1) % np.array(counts)[failed]
    scores[failed] = np.where(there[failed], math.log(LEAST), -np.inf)
    scores[places[failed], true[failed]] = 0.0
    return Scored(scores, said, true)


def _answers(lm: LM, rows: Sequence[Row], context: Context, judge: str) -> Scored:
    heard, evaluator = Heard(lm), context.evaluator(judge)
    metric = evaluator.metrics[0].name
    right = np.array([s[metric] for s in evaluator.measure(cast("LM", heard), rows, context)], dtype=np.float64)
    answers = [heard.said.get(row_key(row)) for row in rows]
    if not np.isin(right, (0.0, 1.0)).all():
        raise ConfigError(f"evaluator={judge} judges by {metric}, which is not right or wrong (1 or 0) on every row")
    if any(a is None or (a.log_prob is None and not a.error) for a in answers):
        raise ConfigError(f"{lm.variant}: it is not known how likely its answers are, so there is no confidence")
    logs = np.array([_per_token(cast("Answer", a)) for a in answers])
    sure = np.exp(logs).clip(LEAST, 1 - LEAST)
    said = np.zeros(len(rows), dtype=np.intp)
    return Scored(np.log(np.stack([sure, 1 - sure], axis=1)), said, (1 - right).astype(np.intp))


def _per_token(answer: Answer) -> float:
    """Nats per token, the one that ended the answer included; an answer with an error is not believed at all."""
    if answer.error or answer.log_prob is None:
        return -math.inf
    return answer.log_prob / max(answer.tokens + (answer.finish == "stop"), 1)


def _log_softmax(scores: Floats) -> Floats:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return cast("Floats", shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def temperature(found: Scored) -> float:
    """The temperature from 1/20 to 20 at which the truth is likeliest (Guo et al. 2017, arXiv:1706.04599)."""
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(found.true))

    def loss(log_temperature: float) -> float:
        return float(-_log_softmax(found.scores / math.exp(log_temperature))[rows, found.true].mean())

    best = minimize_scalar(loss, bounds=(-math.log(20), math.log(20)), method="bounded", options={"xatol": 1e-8})
    return math.exp(float(best.x))


class Apart(NamedTuple):
    """Rows to learn from, and which rows are measured."""

    learnt: list[Row]
    measured: NDArray[np.bool_]
    """(n,)"""
    said: str
    """`200 rows of validation.mine`, or `100 of the 200 rows, which are not measured`."""


def apart(rows: Sequence[Row], context: Context) -> Apart:
    """Nothing is learnt from a row that is measured: validation rows of the same kind are learnt from.

    Where there are none, a seeded half of `rows` themselves, whole groups, which then are not measured.
    """
    here, wanted = {row_key(row) for row in rows}, kind(rows[0].columns)
    found: dict[str, list[Row]] = {}
    for held in context.held_out:
        served = [row for row in held.rows if kind(row.columns) == wanted and row_key(row) not in here]
        if held.split == "validation" and served:
            found[f"validation.{held.name}"] = served
    if found:
        learnt = [row for served in found.values() for row in served]
        return Apart(learnt, np.ones(len(rows), dtype=np.bool_), f"{len(learnt):,} rows of {', '.join(found)}")
    groups = [row.group or row_key(row) for row in rows]
    names = sorted(set(groups))
    half = set(random.Random(context.seed).sample(names, len(names) // 2))
    measured = np.array([group not in half for group in groups])
    learnt = [row for row, out in zip(rows, measured, strict=True) if not out]
    said = (
        f"{len(learnt):,} of the {len(rows):,} rows, which are not measured (there are no validation rows like these)"
    )
    return Apart(learnt, measured, said)
