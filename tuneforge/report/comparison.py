"""comparison.html: several models side by side, one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.comparison import facts
from tuneforge.evaluation.figures import figure
from tuneforge.report import charts, numbers, page
from tuneforge.report.answers import Answered, Shown, prompt_text
from tuneforge.report.differences import stretches

if TYPE_CHECKING:
    from tuneforge.comparison.comparing import Comparison
    from tuneforge.comparison.contestants import Contestant
    from tuneforge.comparison.disagreements import Disagreements, Row

MOST_PANELS = 12
MOST_ROWS = 60
"""Rows on which models disagree that are shown."""
MOST_KEYS = 300
"""Differing values of the configs that are shown."""
HUES = 8


@dataclass(frozen=True)
class Side:
    """A contestant as the page shows it."""

    letter: str
    hue: int
    name: str
    folder: str
    status: str
    decision: str
    steps: float | None
    tokens: float | None
    training: float | None
    seconds: float | None
    memory: float | None
    better: int
    """Rows of the deciding set on which it did better than what all are compared with."""
    worse: int


@dataclass(frozen=True)
class Said:
    """What the deciding difference of one contestant proves."""

    letter: str
    name: str
    state: str
    text: str


def write_page(folder: Path, made: Comparison, seeds: Sequence[Mapping[str, Any]] = ()) -> Path:
    """comparison.html; text from data escaped, nothing fetched. `seeds` are a grid's metric rows over its seeds."""
    return page.write(folder / "comparison.html", render(made, seeds))


def render(made: Comparison, seeds: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page's HTML."""
    sides = [_side(one, i, made) for i, one in enumerate(made.contestants)]
    letters = {side.name: side.letter for side in sides}
    apart = made.disagreements
    return page.render(
        "comparison.html.j2",
        sides=sides,
        against=letters.get(made.against, ""),
        said=[_said(row, letters) for row in made.deciding()],
        panels=_panels(made, sides),
        hues={side.letter: side.hue for side in sides},
        seeds=[_over_seeds(row) for row in seeds if row["split"] == "test"],
        apart=apart,
        shown=[_shown(row, made, letters) for row in apart.rows[:MOST_ROWS]] if apart else [],
        numbers=numbers.numbers(made.rows),
        unseen=max(len(made.rows) - numbers.MOST, 0),
        config=made.config[:MOST_KEYS],
        keys=len(made.config),
        data=made.data,
        same_data=facts.same_data(made.contestants),
        refusals=made.refusals,
        notes=made.notes,
    )


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else f"#{place + 1}"


def _side(one: Contestant, place: int, made: Comparison) -> Side:
    cost, apart = facts.cost(one), made.disagreements
    known = apart is not None and not one.status and one.name != made.against
    better, worse = apart.against(one.name, made.against) if apart and known else (0, 0)
    return Side(
        letter=_letter(place),
        hue=place % HUES,
        name=one.name,
        folder=str(one.folder),
        status=one.status,
        decision=one.decision,
        steps=cost["steps"],
        tokens=cost["tokens"],
        training=cost["training_seconds"],
        seconds=cost["seconds"],
        memory=cost["peak_memory_bytes"],
        better=better,
        worse=worse,
    )


def _said(row: Mapping[str, Any], letters: Mapping[str, str]) -> Said:
    where = "all target sets" if row["set"] == "*" else row["set"]
    text = f"{numbers.metric_name(row)} on {where} {numbers.interval(row)} against {letters[row['versus']]}"
    return Said(letters[row["model"]], row["model"], numbers.means(row), text)


def _over_seeds(row: Mapping[str, Any]) -> dict[str, Any]:
    model = f"{row['model']} - {row['versus']}" if row["versus"] else str(row["model"])
    place = {"overrides": row["overrides"] or "all", "set": row["set"], "metric": numbers.metric_name(row)}
    return place | {"model": model, "sort": row["value"], "value": numbers.interval(row), "seeds": row["seeds"]}


def _panels(made: Comparison, sides: Sequence[Side]) -> list[charts.Panel]:
    """The deciding number, then the first metric of every evaluator on every test set."""
    plain = [r for r in made.rows if not r["versus"] and r["split"] == "test" and r["value"] is not None]
    first = {(r["evaluator"], r["set"]): r["metric"] for r in reversed(plain)}
    keys = [made.primary, *((r["evaluator"], first[r["evaluator"], r["set"]], r["set"]) for r in plain)]
    found = []
    for key in list(dict.fromkeys(k for k in keys if k))[:MOST_PANELS]:
        here = {r["model"]: r for r in plain if (r["evaluator"], r["metric"], r["set"]) == key}
        values = {side.letter: here[side.name] for side in sides if side.name in here}
        if values:
            found.append(charts.panel(str(next(iter(values.values()))["role"]), values))
    return found


def _shown(row: Row, made: Comparison, letters: Mapping[str, str]) -> Shown:
    apart = made.disagreements
    assert apart is not None
    sample, rival = row.sample, row.answers.get(made.against)
    reference = str(sample.get("reference") or "")
    return Shown(
        place=str(sample.get("place") or sample.get("id") or ""),
        prompt=prompt_text(sample.get("prompt")),
        reference=stretches(reference),
        rejected=sample.get("rejected"),
        answers=[_answered(name, row, apart, reference, rival, letters) for name in row.scores],
    )


def _answered(
    name: str, row: Row, apart: Disagreements, reference: str, rival: str | None, letters: Mapping[str, str]
) -> Answered:
    answer, score = row.answers.get(name), row.scores[name]
    marked = None if answer is None else stretches(answer, reference, None if answer == rival else rival)
    right = score == 1 if apart.shares else None
    return Answered(letters[name], marked, right, figure(score))
