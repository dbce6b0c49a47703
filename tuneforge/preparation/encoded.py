"""Rows that could not become tokens: quarantined like unreadable ones, and refused when they are many."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuneforge.components import Context
from tuneforge.errors import DataRefused
from tuneforge.files import write_text
from tuneforge.preparation.messages import kind_of
from tuneforge.rows import HeldOut, Rejected
from tuneforge.settings import Run

SHOWN = 3


def quarantine(rejected: Sequence[Rejected], folder: Path) -> None:
    """Add the rows that the strategy rejected to data/quarantine.jsonl."""
    path = folder / "data" / "quarantine.jsonl"
    lines = [
        {"set": row.source, "file": row.file, "line": row.line, "reason": reason, "by": "tokens"}
        for row, reason in rejected
    ]
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    write_text(path, before + "".join(json.dumps(line) + "\n" for line in lines))


def refuse(run: Run, rejected: Sequence[Rejected], total: int, what: str = "training rows") -> None:
    """DataRefused when more than max_quarantined of the rows could not become tokens."""
    if not total or len(rejected) <= run.max_quarantined * total:
        return
    kinds = Counter(kind_of(r.reason) for r in rejected).most_common(SHOWN)
    share = len(rejected) / total
    long = any(kind == "too long" for kind, _ in kinds)
    bound = "+transform=length transform.length.max_characters=N"
    hint = f"raise batch.max_length, leave them out with {bound}, or " if long else ""
    raise DataRefused(
        f"data refused:\n  {len(rejected):,} of {total:,} {what} cannot be used by strategy={run.strategy.name} "
        f"({share:.1%}, max_quarantined={run.max_quarantined}):\n"
        + "\n".join(f"  {count:,} {kind}" for kind, count in kinds)
        + "".join(f"\n  {r.row.place}: {r.reason}" for r in rejected[:SHOWN])
        + (f"\n  {hint}accept the loss with max_quarantined={share + 0.01:.2f}" if share < 0.99 else "")
    )


def held_out(
    run: Run, sets: Sequence[HeldOut], rejected: Mapping[str, Sequence[Rejected]], context: Context,
    lack: str = "cannot be asked",
) -> None:  # fmt: skip
    """Quarantine, count and say the rows of evaluation sets that `lack` something; DataRefused where they are many."""
    for held in sets:
        place = f"{held.split}.{held.name}"
        odd = rejected.get(place, ())
        if not odd:
            continue
        quarantine(odd, context.folder)
        refuse(run, odd, len(held.rows), f"rows of {place}")
        kinds = Counter(r.reason for r in odd).most_common(SHOWN)
        said = "; ".join(f"{count:,} x {reason}" for reason, count in kinds)
        context.note(f"{place}: {len(odd):,} of {len(held.rows):,} rows {lack}: {said}", rows=len(odd))
