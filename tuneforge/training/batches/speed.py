"""Whether this model takes packs or rows of like length faster: measured, and kept for the next run."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tuneforge.cache import Cache, key

if TYPE_CHECKING:
    from tuneforge.components import Context
    from tuneforge.settings import Run
    from tuneforge.training.batches.loader import Unit
    from tuneforge.training.memory.trial import Trial


def packing_speed(run: Run, tried: Trial, context: Context) -> float:
    """Tokens per second of packs, as a multiple of those of rows of like length.

    Kept by machine, libraries, model, strategy, adapter, optimizer, `batch` and the lengths at hand: equal commands
    decide alike, though no two measurements are equal, and so end in the same weights. A cache that cannot be read or
    written is said, and harms nothing.
    """
    units = {packed: _typical(run, tried, packed) for packed in (True, False)}
    lengths = [[int(tried.feed(False).lengths()[list(unit)].sum()) for unit in some] for some in units.values()]
    # Of the optimizer its kind alone: the points of a grid over learning rates are to decide alike.
    parts = [tried.described, run.optimizer.name, *map(repr, (run.strategy, run.adapter, run.batch))]
    cache, name = Cache(context.cache / "speeds.sqlite"), key(_machine(tried), parts, lengths)
    known = {}
    with suppress(sqlite3.Error, OSError, ValueError):
        known = cache.get([name])
    if not known:
        packs, rows = (_speed(tried, units[packed], packed) for packed in (True, False))
        known = {name: packs / rows}
        try:
            cache.put(known)
        except (sqlite3.Error, OSError) as error:
            context.note(f"how fast packs are is not kept for later runs: {error}")
    return float(known[name])


def _machine(tried: Trial) -> list[str]:
    """What computes, and with which libraries."""
    import torch
    import transformers

    gpu = torch.cuda.get_device_name(tried.device) if tried.device.type == "cuda" else ""
    processor = f"{platform.processor() or platform.machine()} x {os.cpu_count()}"
    return [processor, f"{tried.device} {gpu}", torch.__version__, transformers.__version__]


def _typical(run: Run, tried: Trial, packed: bool) -> list[Unit]:
    """`batch.size` units around the one of median length."""
    feed = tried.feed(packed)
    ordered = feed.shortest()
    middle = max(0, len(ordered) // 2 - run.batch.size // 2)
    return [feed.units[i] for i in ordered[middle : middle + run.batch.size]]


def _speed(tried: Trial, units: list[Unit], packed: bool) -> float:
    """Tokens per second of as many of the units as memory takes at once."""
    feed = tried.feed(packed)
    clock = time.perf_counter if tried.device.type == "cuda" else time.process_time
    some = units[: tried.plan([feed.units[feed.longest()[0]]], packed).micro]
    return feed.tokens(some)[0] / tried.seconds(some, packed, clock)
