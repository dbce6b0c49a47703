"""How often rows are seen in one epoch: by their source, then by what the strategy wants of each share."""

from __future__ import annotations

import hashlib
import random
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence

from tuneforge.components import Context, Strategy
from tuneforge.errors import ConfigError
from tuneforge.preparation import mixture, store
from tuneforge.preparation.view import View
from tuneforge.rows import Row
from tuneforge.rules import mixture_problems
from tuneforge.settings import Run

Places = Mapping[str, Sequence[int]]
"""Source or share: places of its rows."""


def weighted(run: Run, rows: Sequence[Row], context: Context) -> View:
    """The rows of one epoch, in order: weight 2 is every row twice, 0.1 a seeded tenth, 1.5 all and a seeded half.

    `mixture.fraction` is cut before. Says what mixture a strategy with shares of its own really gets.
    """
    if broken := list(mixture_problems(run)):
        raise ConfigError("\n".join(broken))
    groups = _grouped(rows)
    part = {source: _part(run, rows, places) for source, places in groups.items()}
    sizes = {source: len(places) for source, places in part.items()}
    wanted = mixture.wanted(run, sizes, context)
    if run.mixture.fraction == 1 and wanted == sizes:
        found = View(rows, range(len(rows)))
    else:
        found = View(rows, _times(run.seed, part, wanted))
    return _shared(run, found, context) if type(run.strategy).share is not Strategy.share else found


def _grouped(rows: Sequence[Row]) -> Places:
    groups: dict[str, array[int]] = {}
    for place, source in enumerate(store.sources(rows)):
        groups.setdefault(source, array("q")).append(place)
    return groups


def _part(run: Run, rows: Sequence[Row], places: Sequence[int]) -> Sequence[int]:
    """The rows of one source whose seeded hashes are smallest: a smaller fraction is part of every larger one."""
    if run.mixture.fraction == 1:
        return places
    hashes = array("Q", (_hash(run.seed, rows[place]) for place in places))
    order = sorted(range(len(places)), key=hashes.__getitem__)
    return sorted(places[at] for at in order[: max(1, round(len(places) * run.mixture.fraction))])


def _hash(seed: int, row: Row) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{row.id}".encode(), digest_size=8).digest(), "big")


def _shared(run: Run, found: View, context: Context) -> View:
    """As the strategy weighs its own shares."""
    groups: dict[str, array[int]] = {}
    for place in found.places:
        groups.setdefault(run.strategy.share(found.rows[place]), array("q")).append(place)
    if set(groups) <= {""}:
        return found
    counts = {name: len(places) for name, places in groups.items()}
    weights = run.strategy.epoch_weights(counts)
    wanted = {name: max(1, round(n * weights.get(name, 1.0))) for name, n in counts.items()}
    places = found.places if wanted == counts else _times(run.seed, groups, wanted)
    _say(Counter(wanted), context)
    return View(found.rows, places)


def _say(shares: Counter[str], context: Context) -> None:
    rows = shares.total()
    of = ", ".join(f"{name or 'none'} {n:,} ({n / rows:.0%})" for name, n in shares.items())
    context.note(f"rows per epoch: {of}", **{f"rows.{name or 'none'}": float(n) for name, n in shares.items()})


def _times(seed: int, groups: Places, wanted: Mapping[str, int]) -> array[int]:
    found = array("q")
    for name, places in groups.items():
        whole, rest = divmod(wanted[name], len(places))
        picked = sorted(random.Random(f"{seed}:{name}").sample(range(len(places)), rest))
        for _ in range(whole):
            found.extend(places)
        found.extend(places[at] for at in picked)
    return found
