"""How rows become batches in this run: packed or grouped by length, how many per forward pass, what a step costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tuneforge.errors import ConfigError
from tuneforge.files import write_json
from tuneforge.sections import Grouping, Packing
from tuneforge.training.batches import packing, probe
from tuneforge.training.batches.feed import Feed
from tuneforge.training.batches.loader import WindowLoader
from tuneforge.training.batches.speed import packing_speed
from tuneforge.training.memory.plan import USED
from tuneforge.training.memory.trial import Trial, spread, trial
from tuneforge.training.optimise import accumulation, device_count, planned_steps

if TYPE_CHECKING:
    from tuneforge.components import Context
    from tuneforge.rows import Loaded
    from tuneforge.settings import Run
    from tuneforge.training.proof import Proof
    from tuneforge.training.text.encode import EncodedSet

ENOUGH_STEPS = 100
"""With fewer, packing is not chosen by itself."""
SLOWER = 0.9
"""Speed of packs, against that of rows of like length, below which rows are chosen instead."""
SAVES = 0.9
"""Padded tokens with grouping, against those without, below which it is chosen by itself."""
SAMPLED = 2000
"""Optimizer steps of an epoch over which padding is counted."""
DECIDED = ("packed", "packing_reason", "grouped", "micro")
"""What a resumed run takes over, as it may depend on the machine."""


def decide(run: Run, loaded: Loaded, encoded: EncodedSet, proof: Proof, context: Context) -> None:
    """Fill in the proof: packing, grouping, micro-batch, steps, time and memory.

    ConfigError where packing is asked for and cannot be.
    """
    file = context.folder / "data" / "batching.json"
    earlier = json.loads(file.read_text(encoding="utf-8")) if run.resume and file.exists() else {}
    proof.packed, proof.packing_reason = _allowed(run, loaded, proof)
    with trial(run, loaded, encoded, context) as tried:
        if proof.packed and run.batch.packing is Packing.auto:
            _keep_enough_steps(run, len(encoded.rows), len(tried.feed(True).units), proof)
        if proof.packed and run.batch.packing is Packing.auto and not earlier and device_count(run) == 1:
            _keep_the_faster(run, tried, proof, context)
        vars(proof).update(earlier)
        _announce(run, proof, context)
        feed = tried.feed(proof.packed)
        proof.grouped = earlier.get("grouped", _grouped(run, feed, proof.packed))
        _plan_memory(run, tried, feed, proof, context)
        _plan_time(run, tried, feed, proof)
    proof.units = len(feed.units)
    if proof.packed:
        proof.fill = packing.fill(feed.units, feed.sizes()[:, 0], encoded.max_length)
    write_json(file, {name: getattr(proof, name) for name in DECIDED})


def _allowed(run: Run, loaded: Loaded, proof: Proof) -> tuple[bool, str]:
    if run.batch.packing is Packing.off:
        return False, "batch.packing=off"
    if not run.strategy.packable:
        return False, f"strategy={run.strategy.name} cannot be packed"
    if not run.adapter.packable:
        return False, f"adapter={run.adapter.name} works on one document per sequence"
    proof.isolation = probe.isolation(loaded.model, loaded.tokenizer)
    if proof.isolation > probe.LIMIT:
        return False, f"two documents in one sequence change each other's logits by {proof.isolation:.2g} in this model"
    return True, f"two documents in one sequence do not see each other (logits differ by {proof.isolation:.1g})"


def _keep_enough_steps(run: Run, rows: int, packs: int, proof: Proof) -> None:
    """Packing off where it would leave a small data set with too few optimizer steps to learn from."""
    packed, plain = (planned_steps(run, units)[1] for units in (packs, rows))
    if packed < ENOUGH_STEPS and packed < plain:
        proof.packed = False
        proof.packing_reason = (
            f"it would leave {packed:,} optimizer steps instead of {plain:,}; batch.packing=on packs all the same"
        )


def _keep_the_faster(run: Run, tried: Trial, proof: Proof, context: Context) -> None:
    """Packing off where this model takes rows of like length much faster."""
    proof.packing_speed = packing_speed(run, tried, context)
    if proof.packing_speed < SLOWER:
        proof.packed = False
        proof.packing_reason = (
            f"packs have {proof.packing_speed:.2f} of the speed of rows grouped by length on this model"
        )


def _announce(run: Run, proof: Proof, context: Context) -> None:
    if proof.packed or run.batch.packing is Packing.off:
        return
    if run.batch.packing is Packing.on:
        raise ConfigError(f"batch.packing=on: {proof.packing_reason}; use batch.packing=auto or off")
    if run.strategy.packable:
        context.note(f"packing is off: {proof.packing_reason}")


def _grouped(run: Run, feed: Feed, packed: bool) -> bool:
    if run.batch.group_by_length is not Grouping.auto or packed or not run.strategy.divisible:
        return run.batch.group_by_length is Grouping.on
    plain, grouped = (_tokens(run, feed, by_length, run.batch.size)[1] for by_length in (False, True))
    return grouped < SAVES * plain


def _tokens(run: Run, feed: Feed, grouped: bool, micro: int) -> tuple[float, float]:
    """Tokens per optimizer step and device, without and with padding, on average over the first epoch."""
    lengths = feed.lengths() if grouped else None
    parts = accumulation(run, device_count(run))
    loader = WindowLoader(
        feed.units,
        feed.make,
        size=run.batch.size,
        accumulate=parts,
        micro=micro,
        total=1,
        seed=run.seed,
        lengths=lengths,
    )
    order, step = loader.order(0)[: SAMPLED * loader.per_window], loader.per_window
    windows = [order[start : start + step] for start in range(0, len(order), step)]
    counts = [feed.tokens([feed.units[i] for i in part]) for window in windows for part in loader.cut(window)]
    real, padded = map(sum, zip(*counts, strict=True))
    return real / len(windows), padded / len(windows)


def _plan_memory(run: Run, tried: Trial, feed: Feed, proof: Proof, context: Context) -> None:
    units = [feed.units[i] for i in feed.longest()[: 1 if run.strategy.divisible else run.batch.size]]
    found = tried.plan(units, proof.packed)
    proof.micro = min(proof.micro, found.micro) if proof.micro else found.micro
    found = found._replace(micro=proof.micro)
    proof.memory = {**found._asdict(), "peak": found.peak}
    if found.available and found.peak > USED * found.available:
        context.note(
            f"warning: training needs {mebi(found.peak)} of memory, and {mebi(found.available)} are free."
            " Lower batch.max_length, set batch.gradient_checkpointing=true, or train fewer parameters (strategy=lora)"
        )


def mebi(count: float) -> str:
    """Bytes as `312 MiB`."""
    return f"{count / 2**20:,.0f} MiB"


def _plan_time(run: Run, tried: Trial, feed: Feed, proof: Proof) -> None:
    proof.steps = planned_steps(run, len(feed.units))[1]
    real, padded = _tokens(run, feed, proof.grouped, proof.micro)
    proof.padding = 1 - real / padded
    by_length = feed.shortest()
    middle = max(0, len(by_length) // 2 - proof.micro // 2)
    typical = [feed.units[i] for i in by_length[middle : middle + proof.micro]]
    chosen: Any = typical if proof.grouped else spread(feed.units, proof.micro)
    seconds = tried.seconds(chosen, proof.packed)
    proof.seconds_per_step = seconds * padded / feed.tokens(chosen)[1]
    proof.timed_exactly = tried.exact
    proof.planned_seconds = proof.steps * proof.seconds_per_step
