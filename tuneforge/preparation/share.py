"""Cut held-out sets from the training rows by a hash of their content."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Mapping, Sequence

from tuneforge.components import Context, DataSource
from tuneforge.data.share import Share
from tuneforge.errors import ConfigError
from tuneforge.preparation import signature
from tuneforge.preparation.view import View
from tuneforge.rows import HeldOut, Row
from tuneforge.settings import Run

Place = tuple[str, str]
"""(split, key) of a held-out set."""
Range = tuple[float, float]


def cut(run: Run, rows: Sequence[Row], context: Context) -> tuple[View, list[HeldOut]]:
    """(rows that stay, sets that are cut), before deduplication and transforms. Synthetic rows always stay.

    Rows of one group, else with one prompt or text, have one position in [0, 1), a hash: equal in every
    run and whatever other rows there are. A share is a range of positions.
    """
    ranges = _ranges(run)
    if not ranges:
        return View(rows, range(len(rows))), []
    # NaN lies in no range.
    positions = array("d", (math.nan if row.source.startswith("synthetic.") else position(row) for row in rows))
    stay, sets = _assigned(ranges, positions, context)
    sources: dict[str, Mapping[str, DataSource]] = {"validation": run.validation, "test": run.test}
    return View(rows, stay), [
        HeldOut(name=key, split=split, role=str(sources[split][key].role), rows=View(rows, found))
        for (split, key), found in sets.items()
    ]


def position(row: Row) -> float:
    """Where a row stands in [0, 1): by its group, else by the letters and digits of its prompt."""
    key = row.group.encode("utf-8", "surrogatepass") if row.group else signature.prompt(row.columns)
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64


def _ranges(run: Run) -> dict[Place, Range]:
    """Validation takes from 0 upwards, test from 1 downwards, so that changing one does not move the other."""
    ranges: dict[Place, Range] = {}
    low, high = 0.0, 1.0
    for key, source in run.validation.items():
        if isinstance(source, Share):
            ranges["validation", key] = (low, low + source.fraction)
            low += source.fraction
    for key, source in run.test.items():
        if isinstance(source, Share):
            ranges["test", key] = (high - source.fraction, high)
            high -= source.fraction
    if high - low < 0.1:
        raise ConfigError(f"the shares of validation and test leave {max(high - low, 0):.0%} of the data for training")
    return ranges


def _assigned(
    ranges: Mapping[Place, Range], positions: Sequence[float], context: Context
) -> tuple[Sequence[int], dict[Place, Sequence[int]]]:
    """(rows that stay, rows of each set). A range that holds no position takes the nearest free one, aloud."""
    import numpy as np

    at = np.asarray(positions)
    owner = np.full(len(at), -1)
    for number, (low, high) in enumerate(ranges.values()):
        owner[(at >= low) & (at < high)] = number
    for number, (place, (low, high)) in enumerate(ranges.items()):
        free = np.unique(at[(owner == -1) & ~np.isnan(at)])
        if not (owner == number).any() and len(free) > 1:
            owner[at == free[np.argmin(np.abs(free - (low + high) / 2))]] = number
            distinct = len(np.unique(at[~np.isnan(at)]))
            context.note(
                f"{'.'.join(place)}: the data has only {distinct:,} different prompts or groups and none falls into"
                f" {high - low:.3g} of them, so one is held out"
            )
    rows = {number: array("q", np.flatnonzero(owner == number).tobytes()) for number in range(-1, len(ranges))}
    return rows[-1], {place: rows[number] for number, place in enumerate(ranges)}
