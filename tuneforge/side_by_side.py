"""`tuneforge compare`: runs and evaluated models side by side, on one protocol or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge import record, terminal
from tuneforge.comparison import facts
from tuneforge.comparison.comparing import Comparison, compare, write
from tuneforge.comparison.contestants import Contestant, contestants
from tuneforge.errors import ConfigError, nearest, printable
from tuneforge.evaluation.figures import with_interval
from tuneforge.report.comparison import write_page
from tuneforge.report.numbers import means, metric_name

if TYPE_CHECKING:
    from rich.table import Table

KEYS = ("against", "output_dir")
"""What may be set."""
MOST = 12
"""Differing config values on the terminal; the page has all."""


def run(paths: Sequence[str], overrides: Sequence[str]) -> int:
    """Compare them, say what came out, and write comparison.html, .json and .csv."""
    settings = _settings(overrides)
    found = contestants(paths)
    _refuse(found, settings.get("against", ""))
    made = compare(found, settings.get("against", ""))
    if made.refusals:
        raise ConfigError("compare: numbers of different protocols do not compare\n  " + "\n  ".join(made.refusals))
    if not made.rows:
        raise ConfigError("compare: no set is measured in all of them\n  " + "\n  ".join(made.notes))
    folder = record.free_folder(settings.get("output_dir"), "compare")
    write(folder, made)
    write_page(folder, made)
    record.link_latest(folder)
    _say(made, folder)
    return 0


def _settings(overrides: Sequence[str]) -> dict[str, str]:
    found = {}
    for one in overrides:
        key, _, value = one.partition("=")
        if key not in KEYS:
            raise ConfigError(f"compare: {one}: use {' or '.join(f'{k}=' for k in KEYS)}.{nearest(key, KEYS)}")
        found[key] = value
    return found


def _refuse(found: Sequence[Contestant], against: str) -> None:
    """ConfigError where fewer than two have numbers, or none is named like `against`."""
    able = [one.name for one in found if not one.status]
    if len(found) < 2:
        raise ConfigError("compare: name two runs or more: tuneforge compare outputs/A outputs/B")
    if len(able) < 2:
        without = "; ".join(f"{one.name}: {one.status}" for one in found if one.status)
        raise ConfigError(f"compare: {'only ' + able[0] if able else 'none'} has numbers; {without}")
    if against and against not in able:
        raise ConfigError(f"against={against}: is none of {', '.join(able)}.{nearest(against, able)}")


def _say(made: Comparison, folder: Path) -> None:
    terminal.heading(f"Comparison of {len(made.contestants)}", f"against {made.against}")
    terminal.console().print(_costs(made))
    terminal.console().print(_numbers(made))
    if made.disagreements:
        apart = made.disagreements
        where = f"{apart.place.evaluator} on {apart.place.set}"
        terminal.say("answers", f"{where}: scores differ on {len(apart.rows):,} of {apart.total:,} rows")
    for key, values in [*made.data, *made.config][:MOST]:
        terminal.say("differs", f"{key}  {' | '.join(_short(v) for v in values)}")
    if (more := len(made.data) + len(made.config) - MOST) > 0:
        terminal.say("differs", f"{more} more in the page")
    for note in made.notes:
        terminal.say("note", note)
    terminal.say("page", f"{folder}/comparison.html")


def _costs(made: Comparison) -> Table:
    table = _table("run", "verdict", "steps", "tokens", "training", "in all", "peak memory")
    for one in made.contestants:
        cost = facts.cost(one)
        counts = ("" if cost[k] is None else f"{cost[k]:,.0f}" for k in ("steps", "tokens"))
        times = ("" if (s := cost[k]) is None else terminal.seconds(s) for k in ("training_seconds", "seconds"))
        memory = cost["peak_memory_bytes"]
        _row(table, one.name, one.status or one.decision, *counts, *times, terminal.size(memory) if memory else "")
    return table


def _numbers(made: Comparison) -> Table:
    table = _table("set", "metric", "n", "run", "value", f"minus {made.against}", "")
    differences = {(r["model"], *_key(r)): r for r in made.rows if r["versus"]}
    plain = [r for r in made.rows if not r["versus"] and r["split"] == "test"]
    order = {name: i for i, name in enumerate(dict.fromkeys(_key(r) for r in plain))}
    before: Any = None
    for row in sorted(plain, key=lambda r: order[_key(r)]):
        first, before = _key(row) != before, _key(row)
        difference = differences.get((row["model"], *_key(row)))
        head = (row["set"], metric_name(row), f"{row['n']:,}") if first else ("", "", "")
        _row(table, *head, row["model"], _value(row), _value(difference), means(difference) if difference else "")
    return table


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["evaluator"], row["metric"], row["set"]


def _value(row: Mapping[str, Any] | None) -> str:
    return with_interval(row["value"], row["low"], row["high"], sign=bool(row["versus"])) if row else ""


def _table(*headings: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 3, 0, 0), header_style="none")
    for heading in headings:
        table.add_column(Text(heading), no_wrap=True)
    return table


def _row(table: Table, *cells: str) -> None:
    from rich.text import Text

    table.add_row(*(Text(printable(_short(cell, 100))) for cell in cells))


def _short(text: str, longest: int = 40) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
