"""From the sources of a run to the rows that are trained and evaluated, with every loss counted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tuneforge.components import Context, DataSource
from tuneforge.data.share import Share
from tuneforge.errors import DataRefused
from tuneforge.files import write_text
from tuneforge.preparation import mixture
from tuneforge.preparation.discretion import discreet
from tuneforge.preparation.intake import Intake, SourceReport, read_source, run_generator
from tuneforge.preparation.mixture import Part
from tuneforge.preparation.share import cut
from tuneforge.preparation.store import pool
from tuneforge.preparation.transforming import TransformReport, transform
from tuneforge.preparation.view import View
from tuneforge.preparation.weights import weighted
from tuneforge.rows import HeldOut, Rejected, Row
from tuneforge.settings import Run

SHOWN = 5
"""Places that a refusal names."""


@dataclass(frozen=True)
class Prepared:
    """The rows of a run, and what became of all others."""

    train: View
    """Rows of one epoch, weights applied: a row of weight 2 stands here twice."""
    held_out: list[HeldOut]
    rejected: list[Rejected]
    """Rows that could not be read or used; these count against `max_quarantined`."""
    sources: list[SourceReport]
    transforms: list[TransformReport]
    mixture: list[Part] = field(default_factory=list)
    """What each source brings into an epoch."""
    dropped: dict[str, list[Rejected]] = field(default_factory=dict)
    """Rows that a transform dropped, by its key; wanted, so they do not count against `max_quarantined`."""


def prepare(run: Run, context: Context) -> Prepared:
    """Read, generate, cut shares, transform, weight. Refuses nothing: see `refuse`."""
    rows = pool(context)
    intakes = [read_source(key, "data", source, context, rows) for key, source in run.data.items()]
    seeds = View(rows, range(len(rows)))
    intakes += [run_generator(key, generator, seeds, context, rows) for key, generator in run.synthetic.items()]
    stay, held_out = cut(run, rows, context)
    read = _read_held_out(run, context)
    held_out = _in_config_order(run, held_out, read)
    intakes += read.values()

    train, held_out, reports, dropped = _transformed(run, stay, held_out, context)
    epoch = weighted(run, train, context)
    mixed = mixture.parts(run, epoch)
    prepared = Prepared(
        train=epoch,
        held_out=held_out,
        rejected=[rejected for intake in intakes for rejected in intake.rejected],
        sources=_reports(run, intakes, mixed, held_out),
        transforms=reports,
        mixture=mixed,
        dropped=dropped,
    )
    return discreet(run, prepared)


def _held_out_sources(run: Run) -> list[tuple[str, str, DataSource]]:
    splits: Mapping[str, Mapping[str, DataSource]] = {"validation": run.validation, "test": run.test}
    return [(split, key, source) for split, sources in splits.items() for key, source in sources.items()]


def _read_held_out(run: Run, context: Context) -> dict[tuple[str, str], Intake]:
    return {
        (split, key): read_source(key, split, source, context)
        for split, key, source in _held_out_sources(run)
        if not isinstance(source, Share)
    }


def _in_config_order(run: Run, shares: Sequence[HeldOut], read: Mapping[tuple[str, str], Intake]) -> list[HeldOut]:
    cut_sets = {(held.split, held.name): held for held in shares}
    return [
        cut_sets[split, key]
        if (split, key) in cut_sets
        else HeldOut(name=key, split=split, role=str(source.role), rows=read[split, key].rows)
        for split, key, source in _held_out_sources(run)
    ]


def _transformed(
    run: Run, train: Sequence[Row], held_out: list[HeldOut], context: Context
) -> tuple[Sequence[Row], list[HeldOut], list[TransformReport], dict[str, list[Rejected]]]:
    reports: list[TransformReport] = []
    dropped: dict[str, list[Rejected]] = {}
    for key, component in run.transform.items():
        done = transform(key, component, train, "train", context)
        train, results = done.rows, [done]
        if component.held_out:
            on_sets = [transform(key, component, held.rows, f"{held.split}.{held.name}", context) for held in held_out]
            held_out = [replace(held, rows=done.rows) for held, done in zip(held_out, on_sets, strict=True)]
            results += on_sets
        reports += [result.report for result in results]
        dropped[key] = [rejected for result in results for rejected in result.dropped]
    return train, held_out, reports, dropped


def _reports(
    run: Run, intakes: Sequence[Intake], mixed: Sequence[Part], held_out: Sequence[HeldOut]
) -> list[SourceReport]:
    """The reports of all sources with the rows that are really used, and one for each share."""
    seen = {part.source: part.seen for part in mixed}
    sets = {(held.split, held.name): held for held in held_out}
    reports = []
    for report in (intake.report for intake in intakes):
        if report.split == "train":
            source = report.key if report.key.startswith("synthetic.") else f"data.{report.key}"
            reports.append(replace(report, used=seen[source]))
        else:
            reports.append(replace(report, used=len(sets[report.split, report.key].rows)))
    reports += [
        _share_report(key, split, share, len(sets[split, key].rows))
        for split, key, share in _held_out_sources(run)
        if isinstance(share, Share)
    ]
    return reports


def _share_report(key: str, split: str, source: Share, rows: int) -> SourceReport:
    said = f"share, {source.fraction:.3g} of the training data by content"
    return SourceReport(key, split, "", said, rows, rows, rows, {}, str(source.role))


def refuse(run: Run, prepared: Prepared) -> None:
    """DataRefused when rows are missing or too many were unusable."""
    found = [*_missing(prepared), *_too_many(run, prepared)]
    if found:
        raise DataRefused("data refused:\n" + "\n".join(f"  {line}" for line in found))


def _missing(prepared: Prepared) -> list[str]:
    found = [*_bringing_nothing(prepared)] if prepared.train else ["no training rows are left"]
    for held in prepared.held_out:
        if not held.rows:
            found.append(
                f"{held.split}.{held.name} has no rows; for a share raise {held.split}.{held.name}.fraction, "
                f"or leave the set out with '~{held.split}.{held.name}'"
            )
    return found


def _bringing_nothing(prepared: Prepared) -> Iterator[str]:
    """Sources that are named and have no row to train on."""
    read = {_name(report): report.read for report in prepared.sources}
    for part in prepared.mixture:
        if not part.seen:
            how = "no rows" if not read[part.source] else f"{read[part.source]:,} rows, and none is left to train on"
            yield f"{part.source} has {how}; mend the source, or leave it out with '~{part.source}'"


def _too_many(run: Run, prepared: Prepared) -> list[str]:
    """Each source by itself: a broken evaluation set must not hide behind a large training file."""
    found = []
    for report in prepared.sources:
        lost = report.read - report.kept
        if lost > run.max_quarantined * report.read:
            name = _name(report)
            places = [r for r in prepared.rejected if r.row.source == name][:SHOWN]
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.reasons.items())
            found.append(
                f"{name}: {lost:,} of {report.read:,} rows are unusable ({lost / report.read:.1%}, "
                f"max_quarantined={run.max_quarantined}): {reasons}"
            )
            found += [f"  {r.row.place}: {r.reason}" for r in places]
    return found


def _name(report: SourceReport) -> str:
    if report.split == "train":
        return report.key if report.key.startswith("synthetic.") else f"data.{report.key}"
    return f"{report.split}.{report.key}"


def write(prepared: Prepared, folder: Path) -> None:
    """`data/quarantine.jsonl` (every row not used, with its reason) and `data/audit.json`, atomically."""
    lost = [("reading", rejected) for rejected in prepared.rejected]
    lost += [(f"transform.{key}", rejected) for key, dropped in prepared.dropped.items() for rejected in dropped]
    lines = [json.dumps(_quarantined(by, rejected)) + "\n" for by, rejected in lost]
    write_text(folder / "data" / "quarantine.jsonl", "".join(lines))
    write_text(folder / "data" / "audit.json", json.dumps(_audit(prepared), indent=1) + "\n")


def write_mixture(found: Sequence[Part], folder: Path) -> None:
    """The mixture again in data/audit.json, with what is known of its tokens."""
    path = folder / "data" / "audit.json"
    content = json.loads(path.read_text(encoding="utf-8")) | {"mixture": [asdict(part) for part in found]}
    write_text(path, json.dumps(content, indent=1) + "\n")


def _quarantined(by: str, rejected: Rejected) -> dict[str, Any]:
    row, reason = rejected
    return {"set": row.source, "file": row.file, "line": row.line, "reason": reason, "by": by}


def _audit(prepared: Prepared) -> dict[str, Any]:
    return {
        "rows": {"train": len(prepared.train), **{f"{h.split}.{h.name}": len(h.rows) for h in prepared.held_out}},
        "sources": [asdict(report) for report in prepared.sources],
        "transforms": [asdict(report) for report in prepared.transforms],
        "mixture": [asdict(part) for part in prepared.mixture],
    }
