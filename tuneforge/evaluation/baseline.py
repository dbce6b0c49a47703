"""The best prompt on the base model, chosen on validation rows: what the tuned model has to beat."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuneforge.components import LM, Context, Evaluator
from tuneforge.errors import ConfigError, nearest
from tuneforge.evaluation.figures import figure
from tuneforge.evaluation.lm import HFLM, row_key
from tuneforge.evaluation.measure import PROMPTED, Measured, measure
from tuneforge.evaluation.prompt import Prompt
from tuneforge.preparation.view import View
from tuneforge.rows import HeldOut, Metric, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run

ZERO_SHOT = "zero-shot"
ASKED = ("completion", "messages", "prompt")
"""Records of strategies whose model is asked something, so that a prompt can be better or worse."""
SOURCES = 3
"""Shots are tried from at most so many sources, the largest first."""


@dataclass(frozen=True)
class Choice:
    """What the tuned model has to beat, a prompt or a rule: an LM, its name, and how it was chosen."""

    lm: LM
    name: str
    reason: str
    """As printed: `zero-shot .04, 4-shot .41 -> 4-shot`."""
    scores: dict[str, float] = field(default_factory=dict)
    """Primary metric on the validation rows by prompt; empty where nothing was compared."""
    metric: str = ""
    rows: int = 0
    """Validation rows on which it was chosen."""

    @property
    def facts(self) -> dict[str, Any]:
        """For metrics.json: what the variant is."""
        return {
            "name": self.name,
            "reason": self.reason,
            "scores": self.scores,
            "metric": self.metric,
            "validation_rows": self.rows,
        }


def choose_prompt(
    run: Run,
    base: HFLM,
    evaluators: Mapping[str, Evaluator],
    held_out: Sequence[HeldOut],
    train: Sequence[Row],
    context: Context,
) -> Choice:
    """Zero-shot (the base itself) or run.baseline.shots examples from the training rows, whichever is better.

    Chosen on up to run.baseline.rows target rows of validation by the primary metric, never on test rows.
    Without validation rows the k-shot prompt stands, said aloud. Where training rows come from several
    sources each gives a candidate, because replayed rows are no examples of the job. Strategies that ask
    nothing (clm, preferences) have only the base. Shots are seeded, and are never held-out rows.
    """
    check_metric(run, evaluators)
    if not any(record in ASKED for record in run.strategy.record.split(" or ")):
        return Choice(
            base, ZERO_SHOT, f"the base itself: strategy {run.strategy.name} asks nothing that a prompt could"
        )
    if run.baseline.shots < 1:
        return Choice(base, ZERO_SHOT, "the base itself: baseline.shots=0")
    key, rows = validation_rows(run, evaluators, held_out)
    candidates = _candidates(run, base, rows or _test_prompts(held_out), held_out, train)
    if not candidates:
        return Choice(base, ZERO_SHOT, "the base itself: no training row fits the context as a shot")
    if not rows:
        name, lm = next(iter(candidates.items()))
        reason = f"no validation rows to choose a prompt on, so a fixed {name}"
        context.note(reason)
        return Choice(lm, name, reason)
    return best(run, {ZERO_SHOT: base, **candidates}, key, evaluators[key], rows, context)


def check_metric(run: Run, evaluators: Mapping[str, Evaluator]) -> None:
    """ConfigError, before anything is trained, for a gate.metric that no evaluator reports."""
    known = [f"{key}.{metric.name}" for key, e in evaluators.items() for metric in e.metrics]
    wanted = run.gate.metric
    if wanted and wanted not in known and wanted not in [name.split(".")[-1] for name in known]:
        listed = ", ".join(known) or "no evaluator"
        raise ConfigError(f"gate.metric={wanted}: not reported by {listed}.{nearest(wanted, known)}")


def validation_rows(
    run: Run, evaluators: Mapping[str, Evaluator], held_out: Sequence[HeldOut]
) -> tuple[str, list[Row]]:
    """The primary evaluator and the validation rows to choose on; no rows where there are none."""
    wanted = (run.gate.metric or "").split(".")[0]
    rows = [row for held in held_out if (held.split, held.role) == ("validation", "target") for row in held.rows]
    named = {key: e for key, e in evaluators.items() if wanted in (key, *(m.name for m in e.metrics))}
    for key, evaluator in (named or evaluators).items():
        if evaluator.pairwise or evaluator.memorised:
            continue  # neither compares prompts on validation rows
        served = [row for row in rows if evaluator.serves(row.columns)]
        if served:
            count = min(run.baseline.rows, len(served))
            return key, random.Random(run.seed).sample(served, count)
    return "", []


def _test_prompts(held_out: Sequence[HeldOut]) -> list[Row]:
    """Rows by whose prompts alone the room for shots is judged where there is no validation row."""
    return [row for held in held_out if held.role == "target" for row in held.rows][:100]


def _candidates(
    run: Run, base: HFLM, rows: Sequence[Row], held_out: Sequence[HeldOut], train: Sequence[Row]
) -> dict[str, HFLM]:
    """Name → LM with shots of one source; sources by size."""
    from tuneforge.conversation import offers

    kept = {row_key(row) for held in held_out for row in held.rows}
    asked = {_question(row) for held in held_out for row in held.rows}
    by_source: dict[str, array[int]] = {}
    seen: set[int] = set()  # hashes, as the training rows may be more than fit memory
    for place, row in enumerate(train):
        key = row_key(row)
        known = hash((row.source, key))
        if known in seen or key in kept or not offers(row.columns, "completion") or _question(row) in asked:
            continue
        seen.add(known)
        by_source.setdefault(row.source, array("q")).append(place)
    largest = sorted(by_source, key=lambda source: -len(by_source[source]))[:SOURCES]
    found = {}
    for source in largest:
        shots = _shots(run, base, View(train, by_source[source]), rows)
        name = f"{len(shots)}-shot" if len(largest) == 1 else f"{len(shots)}-shot {source.removeprefix('data.')}"
        if shots:
            found[name] = base.asked(PROMPTED, Prompt(name, tuple(shots)))
    return found


def _question(row: Row) -> str:
    from tuneforge.conversation import split

    parts = split(row.columns)
    return repr([(m["role"], m["content"]) for m in parts[0]]) if parts else row_key(row)


def _shots(run: Run, base: HFLM, pool: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Seeded rows of the pool, as many as asked for that leave room in the context for the longest prompt."""
    from tuneforge.training.text.render import RenderError, prompt_ids

    longest = max(rows, key=lambda row: len(_question(row)), default=None)
    shots: list[Row] = []
    tried = random.Random(run.seed).sample(pool, min(len(pool), 8 * run.baseline.shots))
    for row in tried:
        if len(shots) == run.baseline.shots:
            break
        try:
            ids = prompt_ids((longest or row).columns, base.tokenizer, [*shots, row])
        except RenderError:
            continue  # a row that cannot be rendered is counted where it is trained
        if base.context is None or len(ids) <= base.context * 3 // 4:
            shots.append(row)
    return shots


def best(
    run: Run, candidates: Mapping[str, LM], key: str, evaluator: Evaluator, rows: list[Row], context: Context
) -> Choice:
    """The candidate with the best primary metric; of equal ones the first, as prompts with the fewest shots."""
    from dataclasses import replace

    held = HeldOut("validation", "validation", "target", rows)
    measured = measure(run, candidates, [held], {key: replace(evaluator, sets=[])}, context)
    metric = _metric(run, evaluator)
    scores = {name: _score(measured, evaluator, metric, name) for name in candidates}
    sign = 1 if metric.higher_is_better else -1
    first = max(scores, key=lambda name: sign * scores[name] if math.isfinite(scores[name]) else -math.inf)
    tried = ", ".join(f"{name} {figure(score)}" for name, score in scores.items())
    return Choice(candidates[first], first, f"{tried} -> {first}", scores, f"{key}.{metric.name}", len(rows))


def _metric(run: Run, evaluator: Evaluator) -> Metric:
    wanted = (run.gate.metric or "").split(".")[-1]
    return next((m for m in evaluator.metrics if m.name == wanted), evaluator.metrics[0])


def _score(measured: Measured, evaluator: Evaluator, metric: Metric, name: str) -> float:
    cell = next(cell for (_, variant), cell in measured.cells.items() if variant == name)
    return float(evaluator.aggregate(cell.stats)[metric.name])
