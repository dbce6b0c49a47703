"""Which evaluators measure which sets, and their statistics per row for every variant."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tuneforge.components import LM, Context, Evaluator
from tuneforge.errors import ConfigError, TuneForgeError, nearest
from tuneforge.evaluation.figures import EARLIER, beaten
from tuneforge.evaluation.lm import row_key
from tuneforge.evaluation.recorder import Recorder
from tuneforge.evaluation.replayed import Replayed
from tuneforge.evaluation.trouble import Trouble
from tuneforge.evaluation.unable import Unable
from tuneforge.rows import Answer, HeldOut, Row, Stats

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats
    from tuneforge.settings import Run

PROMPTED = "prompted"
LISTS = ("choices", "tokens", "tags")
LACKING = (
    ("completion",), ("choices",), ("prompt",), ("text",), ("label",), ("prompt", "completion"),
    ("completion", "choices"), ("text", "label"), ("tokens", "tags"), ("anchor", "positive"), ("chosen", "rejected"),
    ("prompt", "chosen", "rejected"),
)  # fmt: skip
"""Columns that a row may lack together, the fewest first."""
MEMORISED = 500
"""Rows that trained, at most, of which a model is asked what it memorised."""


class Place(NamedTuple):
    """An evaluator on a set."""

    evaluator: str
    split: str
    set: str


@dataclass(frozen=True)
class Cell:
    """One variant at one place: arrays (n,) of each statistic, and the group of each row."""

    stats: Mapping[str, Floats]
    groups: Sequence[str]


@dataclass
class Measured:
    """Everything that was measured, by place and variant."""

    evaluators: dict[str, Evaluator] = field(default_factory=dict)
    sets: dict[tuple[str, str], HeldOut] = field(default_factory=dict)
    """(split, name) → the set."""
    rows: dict[Place, list[Row]] = field(default_factory=dict)
    """The rows that were measured: those which the evaluator serves."""
    cells: dict[tuple[Place, str], Cell] = field(default_factory=dict)
    """(place, variant) → statistics."""
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What belongs to each variant: shots, template, the first prompt."""
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    """(variant, row key) → the last generated answer."""
    said: dict[tuple[str, str, int], Answer] = field(default_factory=dict)
    """(variant, row key, most tokens) → the generated answer."""
    teachers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Key of each teacher → who it is."""
    classes: dict[Place, list[str]] = field(default_factory=dict)
    """Names that `predicted` and `true` count; empty for evaluators without."""

    def merge(self, other: Measured) -> Measured:
        """Both together, as when base and tuned are measured at different times."""
        mine, theirs = vars(self), vars(other)
        return Measured(**{name: mine[name] | theirs[name] for name in mine})

    def protocol(self, place: Place) -> str:
        """Hash of scoring, its versions, classes, decoding, rows, references and fields: equal ones compare."""
        evaluator = self.evaluators[place.evaluator]
        settings = {k: v for k, v in dataclasses.asdict(evaluator).items() if k != "sets"}
        content = {
            "evaluator": type(evaluator).name,
            "settings": settings,
            "max_tokens": evaluator.max_tokens,
            "decoding": "greedy",
            "versions": _versions(type(evaluator)),
            "rows": [row_key(row) for row in self.rows[place]],
        }
        if any(row.fields for row in self.rows[place]):
            content["fields"] = [dict(row.fields) for row in self.rows[place]]
        if self.classes.get(place):
            content["classes"] = self.classes[place]
        if asked := {name: who for name, who in self.teachers.items() if _asks(settings, name)}:
            content["teachers"] = asked
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _asks(settings: Mapping[str, Any], teacher: str) -> bool:
    """Whether an evaluator with these settings asks it: by name, or whoever is configured."""
    return teacher == settings.get("teacher") or teacher in (settings.get("teachers", [""]) or [teacher])


def _versions(evaluator: type[Evaluator]) -> dict[str, str]:
    """Of what scores: the distribution that brings the evaluator, and the library that it names."""
    modules = {evaluator.__module__.split(".")[0], evaluator.module} - {""}
    return {module: _version(module) for module in sorted(modules)}


@cache
def _version(module: str) -> str:
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        owners = metadata.packages_distributions().get(module, [])
        return " ".join(f"{name} {metadata.version(name)}" for name in sorted(set(owners)))


def default_evaluators(
    run: Run, sets: Sequence[HeldOut], catalogue: Mapping[str, type[Evaluator]]
) -> tuple[dict[str, Evaluator], list[str]]:
    """The config's evaluators, else those of the strategy that suit the sets; and notes on what was left out.

    `catalogue` maps a name to its class. An evaluator of the strategy is bound to the sets that it suits;
    without any set all are given unbound.
    """
    if run.evaluator:
        return dict(run.evaluator), []
    chosen: dict[str, Evaluator] = {}
    notes: list[str] = []
    for name in run.strategy.evaluators:
        if name not in catalogue:
            raise ConfigError(f"strategy={run.strategy.name} wants evaluator={name}, which is not installed")
        evaluator = catalogue[name]()
        suited, reasons = _suited(evaluator, sets)
        if suited or not sets:
            chosen[name] = replace(evaluator, sets=[] if not reasons else suited)
        notes += [f"{name} is left out on {place}: {reason}" for place, reason in reasons]
    return chosen, notes


def _suited(evaluator: Evaluator, sets: Sequence[HeldOut]) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of the sets that the evaluator serves and suits; (set, reason) where it serves but does not suit."""
    suited, reasons = [], []
    for held in sets:
        rows = [row for row in held.rows if evaluator.serves(row.columns)]
        reason = evaluator.unsuited(rows) if rows else ""
        if reason:
            reasons.append((f"{held.split}.{held.name}", reason))
        elif rows:
            suited.append(held.name)
    return list(dict.fromkeys(suited)), reasons


def measure(
    run: Run,
    variants: Mapping[str, LM],
    sets: Sequence[HeldOut],
    evaluators: Mapping[str, Evaluator],
    context: Context,
    before: Measured | None = None,
    quiet: Context | None = None,
) -> Measured:
    """Every variant on every set that an evaluator serves. `prompted` is measured on target sets only.

    A pairwise evaluator compares with the variant that has to be beaten: one among `before`, whose answers are
    recorded there; without `before` one of these variants, and only that one is measured, as a tie with itself.
    `quiet` is what evaluators are given instead of the context, where what they note would be too much.
    """
    measured = Measured(evaluators=dict(evaluators), sets={(s.split, s.name): s for s in [*sets, *_trained(context)]})
    brought = _brought(evaluators, {held.split for held in sets}, context)
    measured.sets |= {(held.split, held.name): held for own in brought.values() for held in own}
    measured.teachers = {name: teacher.identity for name, teacher in run.teacher.items()}
    places = list(_places(measured, brought, context))
    _refuse_unused(run, measured, places)
    measured.classes = {p: list(evaluators[p.evaluator].classes(measured.rows[p], context)) for p in places}
    recorders = {name: Recorder(lm, name, measured.answers, measured.said) for name, lm in variants.items()}
    tasks = [
        (place, name)
        for place in places
        for name in variants
        if name != PROMPTED or measured.sets[place.split, place.set].role == "target"
    ]
    for place, name in context.progress(tasks, f"Evaluate {', '.join(variants)}"):
        rows, evaluator, versus = measured.rows[place], evaluators[place.evaluator], None
        if evaluator.pairwise:
            opponent = _opponent(before.variants if before else variants, measured.sets[place.split, place.set].role)
            if before is None and name != opponent:
                continue
            versus = Replayed(opponent, before.said) if before else None
        stats = list(evaluator.measure(recorders[name], rows, quiet or context, versus))
        measured.cells[place, name] = _cell(place, rows, stats)
    _describe(measured, variants, context)
    return measured


def _brought(
    evaluators: Mapping[str, Evaluator], splits: Collection[str], context: Context
) -> dict[str, list[HeldOut]]:
    """Key of an evaluator → the sets that it brings itself, in the splits that are measured."""
    return {
        key: [replace(one, name=f"{key}.{one.name}") for one in evaluator.brings(context) if one.split in splits]
        for key, evaluator in evaluators.items()
    }


def _trained(context: Context) -> list[HeldOut]:
    """A seeded sample of the rows that trained, for evaluators that ask what was memorised."""
    count = min(MEMORISED, len(context.train))
    places = sorted(random.Random(context.seed).sample(range(len(context.train)), count))
    return [HeldOut("train", "train", "target", [context.train[i] for i in places])] if places else []


def _opponent(variants: Iterable[str], role: str) -> str:
    """Whom a pairwise evaluator compares with; a prompt is measured on target sets only."""
    known = [v for v in variants if v != EARLIER and (role == "target" or v != PROMPTED)]
    return beaten(known) or next(iter(variants))


def _places(measured: Measured, brought: Mapping[str, Sequence[HeldOut]], context: Context) -> Iterator[Place]:
    owned = {(held.split, held.name) for sets in brought.values() for held in sets}
    names = {name for split, name in measured.sets if split != "train" and (split, name) not in owned}
    for key, evaluator in measured.evaluators.items():
        for wanted in evaluator.sets:
            if wanted not in names:
                known = ", ".join(sorted(names)) or "none is configured"
                raise ConfigError(f"evaluator.{key}.sets: no set '{wanted}' ({known}).{nearest(wanted, names)}")
        for held in brought[key]:
            place = Place(key, held.split, held.name)
            measured.rows[place] = list(held.rows)
            yield place
        for split, name in measured.sets:
            if evaluator.memorised != (split == "train") or (split, name) in owned:
                continue
            if evaluator.sets and name not in evaluator.sets and not evaluator.memorised:
                continue
            held = measured.sets[split, name]
            rows = [row for row in held.rows if evaluator.serves(row.columns)]
            if not rows and evaluator.sets and held.rows:
                raise ConfigError(f"evaluator.{key}.sets: no row of '{name}' has what {key} needs ({evaluator.record})")
            if 0 < len(rows) < len(held.rows):
                left = len(held.rows) - len(rows)
                context.note(f"{key} on {split}.{name}: {left} of {len(held.rows)} rows lack a column", rows=left)
            if rows:
                place = Place(key, split, name)
                measured.rows[place] = rows
                yield place


def _refuse_unused(run: Run, measured: Measured, places: Sequence[Place]) -> None:
    """ConfigError for an evaluator that the config names and no row can be measured with."""
    sets = {f"{split}.{name}": held.rows for (split, name), held in measured.sets.items() if split != "train"}
    used = {place.evaluator for place in places}
    for key, evaluator in measured.evaluators.items():
        if key not in run.evaluator or key in used or evaluator.memorised or not any(sets.values()):
            continue
        place, first = next((place, rows[0].columns) for place, rows in sets.items() if rows)
        lacking = _lacking(evaluator, first)
        keys = " ".join(f"{place}.columns.{name}=NAME" for name in lacking)
        hint = f"; say which columns these are: {keys}" if keys else ""
        raise ConfigError(
            f"evaluator={key}: no row of {', '.join(sets)} has what it needs: {place} has {', '.join(sorted(first))}"
            f" and lacks {' and '.join(lacking) or evaluator.record}{hint}"
            " (docs/evaluation.md: what each evaluator reads)"
        )


def _lacking(evaluator: Evaluator, columns: Mapping[str, Any]) -> Sequence[str]:
    """The fewest columns with which the evaluator would serve rows like this one; none where columns do not decide."""
    for names in LACKING:
        if evaluator.serves({**columns, **{name: ["a", "b"] if name in LISTS else "a" for name in names}}):
            return names
    return ()


def _cell(place: Place, rows: Sequence[Row], stats: Sequence[Stats]) -> Cell:
    if len(stats) != len(rows):
        raise TuneForgeError(f"evaluator {place.evaluator} gave {len(stats)} results for {len(rows)} rows")
    keys = set(stats[0])
    odd = next((row for row, one in zip(rows, stats, strict=True) if set(one) != keys), None)
    if odd is not None:
        raise TuneForgeError(f"evaluator {place.evaluator}: other statistics for {odd.place} than for the first row")
    arrays = {key: np.array([one[key] for one in stats], dtype=np.float64) for key in stats[0]}
    return Cell(arrays, [row.group or f"{row_key(row)}#{i}" for i, row in enumerate(rows)])


def _describe(measured: Measured, variants: Mapping[str, LM], context: Context) -> None:
    rows = next(iter(measured.rows.values()), [])
    for name, lm in variants.items():
        if isinstance(lm, Unable):
            measured.variants[name] = lm.describe(rows)
            for note in lm.trouble.notes(name, {one.max_tokens for one in measured.evaluators.values()}):
                context.note(note)
            lm.trouble = Trouble()
