"""How often rows are seen in one epoch: by their source, then by what the strategy wants of each share."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tuneforge.components import Context
from tuneforge.errors import ConfigError
from tuneforge.rows import Row
from tuneforge.settings import Run


def weighted(run: Run, rows: Sequence[Row], context: Context) -> list[Row]:
    """The rows of one epoch, in order: weight 2 is every row twice, 0.1 a seeded tenth, 1.5 all and a seeded half.

    Says what mixture a strategy with shares of its own really gets.
    """
    weights = {f"data.{key}": _weight(key, source.weight) for key, source in run.data.items()}
    found = _times(run.seed, rows, lambda row: row.source, weights)
    shares = Counter(run.strategy.share(row) for row in found)
    if set(shares) <= {""}:
        return found
    mixed = _times(run.seed, found, run.strategy.share, run.strategy.epoch_weights(shares))
    _say(mixed, run, context)
    return mixed


def _say(rows: Sequence[Row], run: Run, context: Context) -> None:
    shares = Counter(run.strategy.share(row) for row in rows)
    of = ", ".join(f"{name or 'none'} {n:,} ({n / len(rows):.0%})" for name, n in shares.items())
    context.note(f"rows per epoch: {of}", **{f"rows.{name or 'none'}": float(n) for name, n in shares.items()})


def _times(seed: int, rows: Sequence[Row], of: Callable[[Row], str], weights: Mapping[str, float]) -> list[Row]:
    if all(weight == 1 for weight in weights.values()):
        return list(rows)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(of(row), []).append(row)
    return [row for name, found in groups.items() for row in _picked(seed, name, found, weights.get(name, 1.0))]


def _picked(seed: int, name: str, rows: Sequence[Row], weight: float) -> list[Row]:
    times, rest = divmod(weight, 1)
    wanted = round(len(rows) * rest)
    if not times:
        wanted = max(1, wanted)
    picked = sorted(random.Random(f"{seed}:{name}").sample(range(len(rows)), wanted))
    return list(rows) * int(times) + [rows[index] for index in picked]


def _weight(key: str, weight: float) -> float:
    if not 0 < weight < float("inf"):
        raise ConfigError(f"data.{key}.weight={weight} must be above 0; leave the source out with '~data.{key}'")
    return weight
