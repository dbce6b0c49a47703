"""How often the rows of a source are seen in one epoch."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tuneforge.errors import ConfigError
from tuneforge.rows import Row
from tuneforge.settings import Run


def weighted(run: Run, rows: Sequence[Row]) -> list[Row]:
    """The rows of one epoch, in order: weight 2 is every row twice, 0.1 a seeded tenth, 1.5 all and a seeded half."""
    weights = {f"data.{key}": _weight(key, source.weight) for key, source in run.data.items()}
    if all(weight == 1 for weight in weights.values()):
        return list(rows)
    by_source: dict[str, list[Row]] = {}
    for row in rows:
        by_source.setdefault(row.source, []).append(row)
    return [
        row
        for source, found in by_source.items()
        for row in _of_source(run.seed, source, found, weights.get(source, 1.0))
    ]


def _of_source(seed: int, source: str, rows: Sequence[Row], weight: float) -> list[Row]:
    times, rest = divmod(weight, 1)
    wanted = round(len(rows) * rest)
    if not times:
        wanted = max(1, wanted)
    picked = sorted(random.Random(f"{seed}:{source}").sample(range(len(rows)), wanted))
    return list(rows) * int(times) + [rows[index] for index in picked]


def _weight(key: str, weight: float) -> float:
    if not 0 < weight < float("inf"):
        raise ConfigError(f"data.{key}.weight={weight} must be above 0; leave the source out with '~data.{key}'")
    return weight
