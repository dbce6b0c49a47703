"""Cut held-out sets from the training rows by a hash of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from tuneforge.components import Context, DataSource
from tuneforge.data.share import Share
from tuneforge.errors import ConfigError
from tuneforge.preparation import signature
from tuneforge.rows import HeldOut, Row
from tuneforge.settings import Run

Place = tuple[str, str]
"""(split, key) of a held-out set."""
Range = tuple[float, float]


def cut(run: Run, rows: Sequence[Row], context: Context) -> tuple[list[Row], list[HeldOut]]:
    """(rows that stay, sets that are cut), before deduplication and transforms. Synthetic rows always stay.

    Rows of one group, else with one prompt or text, have one position in [0, 1), a hash: equal in every
    run and whatever other rows there are. A share is a range of positions.
    """
    ranges = _ranges(run)
    positions = [None if row.source.startswith("synthetic.") else position(row) for row in rows] if ranges else []
    places = _assigned(ranges, {at for at in positions if at is not None}, context)
    stay: list[Row] = [] if ranges else list(rows)
    sets: dict[Place, list[Row]] = {place: [] for place in ranges}
    for row, at in zip(rows, positions, strict=bool(ranges)):
        place = None if at is None else places.get(at)
        (stay if place is None else sets[place]).append(row)
    sources: dict[str, Mapping[str, DataSource]] = {"validation": run.validation, "test": run.test}
    return stay, [
        HeldOut(name=key, split=split, role=str(sources[split][key].role), rows=found)
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


def _assigned(ranges: Mapping[Place, Range], positions: Iterable[float], context: Context) -> dict[float, Place]:
    """Position: the set that takes it. A range that holds no position takes the nearest free one, aloud."""
    free = sorted(positions)
    distinct = len(free)
    taken: dict[float, Place] = {}
    for place, (low, high) in ranges.items():
        taken |= {at: place for at in free if low <= at < high}
    free = [at for at in free if at not in taken]
    for place, (low, high) in ranges.items():
        if place not in taken.values() and len(free) > 1:
            middle = (low + high) / 2
            _, nearest = min((abs(at - middle), at) for at in free)
            free.remove(nearest)
            taken[nearest] = place
            context.note(
                f"{'.'.join(place)}: the data has only {distinct:,} different prompts or groups and none falls into "
                f"{high - low:.3g} of them, so one is held out"
            )
    return taken
