"""The best prompt on the base model, chosen on validation rows: what the tuned model has to beat."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tuneforge.components import LM, Context, Evaluator
from tuneforge.errors import ConfigError, nearest
from tuneforge.evaluation.behaviour.scoring import Quiet
from tuneforge.evaluation.figures import figure
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluation.measure import PROMPTED, Measured, measure
from tuneforge.evaluation.prompt import PLAIN, Place, Prompt
from tuneforge.evaluation.shots import Pool, room, tokens
from tuneforge.rows import HeldOut, Metric, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run

ZERO_SHOT = PLAIN.name
ASKED = ("completion", "messages", "prompt")
"""Records of strategies whose model is asked something, so that a prompt can be better or worse."""
PRINTED = 6
"""Candidates that are printed: the first, and the best of the others."""


@dataclass(frozen=True)
class Choice:
    """What the tuned model has to beat, a prompt or a rule: an LM, its name, and how it was chosen."""

    lm: LM
    name: str
    reason: str
    """As printed: `zero-shot .04, 4-shot .41 -> 4-shot`."""
    scores: dict[str, float] = field(default_factory=dict)
    """Primary metric on the validation rows by candidate; empty where nothing was compared."""
    metric: str = ""
    rows: int = 0
    """Validation rows on which it was chosen."""

    @property
    def prompt(self) -> str:
        """In a sentence: `the best prompt (4-shot)`; nothing was best where nothing was compared."""
        return f"{'the best' if self.rows else 'a fixed'} prompt ({self.name})"

    @property
    def facts(self) -> dict[str, Any]:
        """For metrics.json: what the variant is."""
        scores = {name: score if math.isfinite(score) else None for name, score in self.scores.items()}
        return {
            "name": self.name,
            "reason": self.reason,
            "scores": scores,
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
    """The plain prompt (the base itself) or the best way of asking that run.baseline offers.

    In four steps, each on top of the best one so far: formats, instructions, examples from the training rows,
    documents. So a candidate is tried once for each of them, not for each combination. Chosen on up to
    run.baseline.rows target rows of validation by the primary metric, never on test rows; of equal ones the simplest.
    Without validation rows the first of each list stands, said aloud. Strategies that ask nothing (clm, preferences)
    have only the base. Shots are never held-out rows.
    """
    check_metric(run, evaluators)
    if not any(record in ASKED for record in run.strategy.record.split(" or ")):
        return Choice(
            base, ZERO_SHOT, f"the base itself: strategy {run.strategy.name} asks nothing that a prompt could"
        )
    key, rows = validation_rows(run, evaluators, held_out)
    pool = Pool(run, held_out, train)
    steps = Steps(run, base, pool, rows or _test_prompts(held_out), context)
    if not rows:
        return _unchosen(steps, base, context)
    search = Search(run, {ZERO_SHOT: base}, key, evaluators[key], rows, context)
    for step in (steps.formats, steps.instructions, steps.shots, steps.documents):
        asking = search.best_lm.asking
        search.add({name: base.asked(PROMPTED, prompt) for name, prompt in step(asking)})
    if not search.scores:
        return Choice(base, ZERO_SHOT, steps.nothing)
    return search.choice()


@dataclass(frozen=True)
class Steps:
    """What each step of the search tries, on top of a way of asking."""

    run: Run
    base: HFLM
    pool: Pool
    rows: Sequence[Row]
    """Rows by whose prompts the room for shots is judged."""
    context: Context

    def formats(self, asking: Prompt) -> Iterator[tuple[str, Prompt]]:
        """Each of baseline.formats."""
        for number, text in enumerate(self.run.baseline.formats, 1):
            yield _named(asking, f"format {number}", format=text)

    def instructions(self, asking: Prompt) -> Iterator[tuple[str, Prompt]]:
        """Each of baseline.instructions, where the chat template lets it stand."""
        place = instruction_place(self.base, self.rows)
        for number, text in enumerate(self.run.baseline.instructions, 1):
            yield _named(asking, f"instruction {number}", instruction=instruction(text), place=place)

    def shots(self, asking: Prompt) -> Iterator[tuple[str, Prompt]]:
        """Each number of baseline.shots by each of baseline.selection, the fewest first."""
        for count in sorted(set(self.run.baseline.shots) - {0}):
            for name, prompt in self.pool.prompts(self.base, asking, count, self.rows):
                if int(name.split("-")[0]) < count:
                    why = f"no more of the {len(self.pool):,} rows that may be shown are there, or fit the context"
                    self.context.note(f"baseline.shots={count}: {name}, as {why}")
                yield _named(asking, name, examples=prompt.examples, nearest=prompt.nearest)

    def documents(self, asking: Prompt) -> Iterator[tuple[str, Prompt]]:
        """baseline.documents, where there are any: as many passages as fit the context with every question."""
        from tuneforge.evaluation import passages

        path, wanted = self.run.baseline.documents, self.run.baseline.passages
        if not path:
            return
        found = passages.read(path, wanted)
        for count in range(min(wanted, len(found.texts)), 0, -1):
            name, prompt = _named(asking, "documents", passages=replace(found, count=count))
            if all((tokens(self.base, prompt, row) or 0) <= room(self.base) for row in self.rows):
                if count < wanted:
                    self.context.note(f"baseline.passages={wanted}: {count}, as no more are there, or fit the context")
                yield name, prompt
                return
        self.context.note(f"baseline.documents={path}: left out, as not one passage fits the context")

    @property
    def nothing(self) -> str:
        """Why there was nothing to try."""
        if any(self.run.baseline.shots):
            return "the base itself: no training row fits the context as a shot"
        return "the base itself: baseline.shots=[], and no format, instruction or documents"


def _named(asking: Prompt, name: str, **parts: Any) -> tuple[str, Prompt]:
    whole = name if asking.name == ZERO_SHOT else f"{asking.name} + {name}"
    return whole, replace(asking, name=whole, **parts)


def instruction(text: str) -> str:
    """The text itself, or what the file behind `@` holds. ConfigError for a file that holds none."""
    if not text.startswith("@"):
        return text
    try:
        found = Path(text[1:]).expanduser().read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"baseline.instructions={text}: is not UTF-8 (byte {error.start:,})") from error
    except OSError as error:
        raise ConfigError(f"baseline.instructions={text}: cannot be read: {error.strerror}") from error
    if not found:
        raise ConfigError(f"baseline.instructions={text}: the file is empty")
    return found


def instruction_place(base: HFLM, rows: Sequence[Row]) -> Place:
    """A system message, unless the template knows none; plain text without a template."""
    from tuneforge.training.text.render import RenderError, prompt_ids

    if not getattr(base.tokenizer, "chat_template", None):
        return Place.before
    try:
        for row in rows[:1]:
            prompt_ids(Prompt(instruction="a").columns(row), base.tokenizer)
    except RenderError:
        return Place.question
    return Place.system


def _unchosen(steps: Steps, base: HFLM, context: Context) -> Choice:
    """The first of each list where nothing can be compared."""
    asking = PLAIN
    for step in (steps.formats, steps.instructions, steps.shots, steps.documents):
        asking = next((prompt for _, prompt in step(asking)), asking)
    if asking is PLAIN:
        return Choice(base, ZERO_SHOT, steps.nothing)
    reason = f"no validation rows to choose a prompt on, so a fixed {asking.name}"
    context.note(reason)
    return Choice(base.asked(PROMPTED, asking), asking.name, reason)


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


class Search:
    """Candidates measured once each on the validation rows by the primary metric, and the best of them."""

    def __init__(
        self, run: Run, first: Mapping[str, Any], key: str, evaluator: Evaluator, rows: list[Row], context: Context
    ) -> None:
        self.run, self.key, self.rows, self.context = run, key, rows, context
        self.evaluator = replace(evaluator, sets=[])
        wanted = (run.gate.metric or "").split(".")[-1]
        self.metric: Metric = next((m for m in evaluator.metrics if m.name == wanted), evaluator.metrics[0])
        self.candidates: dict[str, Any] = dict(first)
        self.scores: dict[str, float] = {}

    def add(self, candidates: Mapping[str, LM]) -> None:
        """Measure those that have not been."""
        new = {name: lm for name, lm in candidates.items() if name not in self.scores}
        if not new:
            return
        self.candidates |= new
        missing = {name: lm for name, lm in self.candidates.items() if name not in self.scores}
        held = HeldOut("validation", "validation", "target", self.rows)
        # What evaluators say of the chosen one they say again on the test rows.
        quiet = cast("Context", Quiet(self.context))
        measured = measure(self.run, missing, [held], {self.key: self.evaluator}, self.context, quiet=quiet)
        self.scores |= {name: self._score(measured, name) for name in missing}

    def _score(self, measured: Measured, name: str) -> float:
        cell = next(cell for (_, variant), cell in measured.cells.items() if variant == name)
        return float(self.evaluator.aggregate(cell.stats)[self.metric.name])

    def _standing(self, name: str) -> float:
        """Higher is better; what is no number is worst."""
        score = self.scores.get(name, math.nan)
        return score * (1 if self.metric.higher_is_better else -1) if math.isfinite(score) else -math.inf

    @property
    def best(self) -> str:
        """The best candidate; of equal ones the first, which is the simplest."""
        return max(self.candidates, key=self._standing)

    @property
    def best_lm(self) -> Any:
        """Its LM."""
        return self.candidates[self.best]

    def choice(self) -> Choice:
        """The best with the scores of all; printed are the first and the best of the others."""
        first, *others = self.scores
        kept = {first, *sorted(others, key=lambda name: -self._standing(name))[: PRINTED - 1]}
        tried = ", ".join(f"{name} {figure(score)}" for name, score in self.scores.items() if name in kept)
        more = f" and {len(self.scores) - len(kept)} more" if len(self.scores) > len(kept) else ""
        reason = f"{tried}{more} -> {self.best}"
        scores, metric = dict(self.scores), f"{self.key}.{self.metric.name}"
        return Choice(self.best_lm, self.best, reason, scores, metric, len(self.rows))


def best(
    run: Run, candidates: Mapping[str, LM], key: str, evaluator: Evaluator, rows: list[Row], context: Context
) -> Choice:
    """The candidate with the best primary metric; of equal ones the first."""
    search = Search(run, {}, key, evaluator, rows, context)
    search.add(candidates)
    return search.choice()
