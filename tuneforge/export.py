"""`tuneforge export RUN`: the tuned model of a finished run in other forms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneforge import announce, record, saved
from tuneforge.composition import compose_config
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.exporting import export_all
from tuneforge.extras import refuse_absent
from tuneforge.files import write_json
from tuneforge.process import quiet_libraries


def export(paths: Sequence[str], overrides: Sequence[str], config_dirs: Sequence[str]) -> int:
    """Export a run with the exporters that the overrides name, else with its own, else merged in bfloat16."""
    if len(paths) != 1:
        raise ConfigError("export: name one run directory: tuneforge export outputs/latest")
    folder = Path(paths[0]).expanduser()
    book = record.read_record(folder)
    run = saved.load(folder)
    odd = [o for o in overrides if not o.lstrip("+~").startswith("exporter")]
    if odd:
        raise ConfigError(f"export: {odd[0]}: only exporters are chosen here: exporter=merged exporter.merged.dtype=…")
    own = [] if overrides or run.exporter else ["exporter=merged"]
    if overrides or own:
        chosen = compose_config([*own, *overrides], config_dirs=config_dirs).run.exporter
        run = dataclasses.replace(run, exporter=chosen)
    refuse_absent((f"exporter.{key}", exporter) for key, exporter in run.exporter.items())
    for key, exporter in run.exporter.items():
        for reason in exporter.check(run):
            raise ConfigError(f"exporter.{key}: {reason}")
    quiet_libraries()
    with record.locked(folder):
        context = RunContext(run, folder, labels=book.get("labels") or ())
        found = export_all(run, folder, run.exporter, context)
        write_json(folder / "run.json", book | {"exports": merge(book.get("exports") or [], found)})
    announce.exported(found)
    return 0


def merge(before: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Earlier exports that were not made anew, then the new ones."""
    anew = {one["exporter"] for one in found}
    return [*(one for one in before if one["exporter"] not in anew), *found]
