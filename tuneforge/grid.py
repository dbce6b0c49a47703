"""A grid: all points composed and validated first, each forked from one warmed process, results read from files."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneforge import composition, record, saved, terminal
from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.evaluation.figures import with_interval
from tuneforge.files import write_json
from tuneforge.forked import forks
from tuneforge.training.devices import world


@dataclass(frozen=True)
class Point:
    """One point: its number, what distinguishes it, its directory."""

    number: int
    overrides: list[str]
    folder: Path


def run(overrides: Sequence[str], file: str | None = None, config_dirs: Sequence[str] = ()) -> int:
    """Run every point; 0 when all finished, else the first failed point's exit code."""
    if world.current().size > 1:
        raise ConfigError("-m: the points of a grid start their own processes; run it without torchrun or srun")
    lists = composition.points(overrides)
    composed = [composition.compose_config(o, file=file, config_dirs=config_dirs) for o in lists]
    if any(c.run.resume for c in composed):
        raise ConfigError("resume: continues one run; it cannot be a point of a grid")
    if any(c.run.program for c in composed):
        raise ConfigError("program: has stages of its own; it cannot be a point of a grid, run one command for each")
    root = _root(composed)
    changing = _changing(lists)
    points = []
    for number, (point, own) in enumerate(zip(composed, changing, strict=True)):
        folder = root / f"{number}-{_slug(own)}"
        (folder / "logs").mkdir(parents=True)
        saved.save(folder, point)
        points.append(Point(number, own, folder))
    terminal.heading(f"Grid of {len(points)} points", str(root))
    codes = _run_points(points)
    _conclude(root, points, codes)
    return next((code for code in codes if code not in (0, 4)), 0)


def _root(composed: Sequence[composition.Composed]) -> Path:
    """The grid's own directory: a fixed output_dir is the root, not a directory that all points share."""
    first = composed[0].config
    if any(c.config.output_dir != first.output_dir for c in composed):
        raise ConfigError("output_dir: one directory serves the whole grid; its points are numbered inside")
    root = record.new_folder(composed[0].run)
    record.link_latest(root)
    return root


def _changing(lists: Sequence[Sequence[str]]) -> list[list[str]]:
    """The overrides of each point that are not the same everywhere."""
    common = set(lists[0]).intersection(*map(set, lists))
    return [[o for o in point if o not in common] for point in lists]


def _slug(overrides: Sequence[str]) -> str:
    text = ",".join(overrides) or "only"
    return "".join(c if c.isalnum() or c in "=.,_-" else "_" for c in text)[:80]


def _run_points(points: Sequence[Point]) -> list[int]:
    codes: list[int] = []
    with forks() as forked:
        for point in points:
            started = time.perf_counter()
            codes.append(forked.run(point.folder, point.overrides))
            took = terminal.seconds(time.perf_counter() - started)
            terminal.say(f"{point.number}", f"{' '.join(point.overrides)}  {_outcome(point, codes[-1])}  {took}")
            forked.refuse_to_go_on(len(codes), f"{len(points)} points")
    return codes


def _outcome(point: Point, code: int) -> str:
    metrics = _read(point.folder / "metrics.json")
    if not metrics:
        return f"exit code {code}, see {point.folder}/logs/output.txt"
    return f"{metrics['verdict']['decision']}: {metrics['verdict']['reason']}"


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _conclude(root: Path, points: Sequence[Point], codes: Sequence[int]) -> None:
    """comparison.json, .csv and .html, and the table on the terminal."""
    rows = [row for point, code in zip(points, codes, strict=True) for row in _rows(point, code)]
    seeds = _over_seeds(points, rows)
    beside = _side_by_side(root, points, seeds)
    write_json(root / "comparison.json", {"schema": 1, "rows": rows, "seeds": seeds, **beside})
    with (root / "comparison.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    if seeds:
        _table_of_seeds(seeds)
        for point, code in zip(points, codes, strict=True):
            if code not in (0, 4):
                terminal.say(f"exit {code}", f"{point.number} {' '.join(point.overrides)}")
    else:
        _table(points, codes, rows)
    terminal.say("table", f"{root}/comparison.csv")


def _side_by_side(root: Path, points: Sequence[Point], seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The page; and what comparison.json holds of it, the paired differences to the first point as `differences`."""
    from tuneforge.comparison import comparing, contestants
    from tuneforge.report.comparison import write_page

    names = {p.folder: f"{p.number} {' '.join(p.overrides)}".strip() for p in points}
    try:
        made = comparing.compare([one for folder, name in names.items() for one in contestants.read(folder, name)])
    except TuneForgeError as error:  # the points' own numbers stand all the same
        terminal.say("note", f"no comparison.html: {error}")
        return {}
    terminal.say("page", str(write_page(root, made, seeds)))
    facts = comparing.as_json(made)
    differences = [row for row in facts.pop("rows") if row["versus"]]
    return {**facts, "differences": differences}


def _rows(point: Point, code: int) -> list[dict[str, Any]]:
    """The tuned model's metric rows of one point, with what distinguishes it."""
    metrics = _read(point.folder / "metrics.json")
    head = {"point": point.number, "overrides": " ".join(point.overrides), "exit_code": code}
    decision = {"decision": metrics["verdict"]["decision"]} if metrics else {"decision": "none"}
    tuned = [r for r in metrics.get("rows", []) if r["model"] == "tuned"]
    return [{**head, **decision, **row} for row in tuned] or [{**head, **decision}]


def _without_seed(point: Point) -> str:
    return " ".join(o for o in point.overrides if not o.startswith("seed="))


def _over_seeds(points: Sequence[Point], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The metric rows over all points that differ only in their seed; none where no two do."""
    from tuneforge.evaluation.seeds import over_seeds, read_samples

    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(_without_seed(point), []).append(point)
    if len(groups) == len(points):
        return []
    found = []
    for overrides, group in groups.items():
        own = [[r for r in rows if r["point"] == point.number and r.get("metric")] for point in group]
        of = {"overrides": overrides, "points": [p.number for p in group]}
        found += [of | row for row in over_seeds(own, [read_samples(p.folder) for p in group])]
    return found


def _table_of_seeds(rows: Sequence[Mapping[str, Any]]) -> None:
    """Means over seeds, whose intervals hold seeds and rows: no seed is shown by itself, for none is to be chosen."""
    from rich.table import Table

    plain = [r for r in rows if not r["versus"] and r["split"] == "test"]
    columns = list(dict.fromkeys((r["set"], r["metric"]) for r in plain))
    table = Table(box=None, pad_edge=False)
    table.add_column("points")
    table.add_column("seeds", justify="right")
    for name, metric in columns:
        table.add_column(f"{name}\n{metric}", justify="right")
    for overrides in dict.fromkeys(r["overrides"] for r in plain):
        own = {(r["set"], r["metric"]): r for r in plain if r["overrides"] == overrides}
        counts = sorted({f"{r['seeds']} of {len(r['points'])}" for r in own.values()})
        table.add_row(overrides or "all", ", ".join(counts), *(_cell(own.get(column)) for column in columns))
    terminal.console().print(table)
    few = "; two seeds leave it very wide" if any(r["seeds"] == 2 for r in plain) else ""
    terminal.say("seeds", f"mean over seeds; its interval holds how seeds differ as well as rows{few}")


def _table(points: Sequence[Point], codes: Sequence[int], rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table

    plain = [r for r in rows if r.get("metric") and not r.get("versus") and r.get("split") == "test"]
    columns = list(dict.fromkeys((r["set"], r["metric"]) for r in plain))
    table = Table(box=None, pad_edge=False)
    table.add_column("point")
    for name, metric in columns:
        table.add_column(f"{name}\n{metric}", justify="right")
    table.add_column("verdict")
    for point, code in zip(points, codes, strict=True):
        own = {(r["set"], r["metric"]): r for r in plain if r["point"] == point.number}
        decision = next((r["decision"] for r in rows if r["point"] == point.number), "none")
        cells = [_cell(own.get(column)) for column in columns]
        outcome = decision if code in (0, 4) else f"exit {code}"
        table.add_row(f"{point.number} {' '.join(point.overrides)}", *cells, outcome)
    terminal.console().print(table)


def _cell(row: Mapping[str, Any] | None) -> str:
    return with_interval(row["value"], row["low"], row["high"]) if row else "-"
