"""What is proved before the first step: where the loss is, what was dropped, what it will cost."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge.components import Context
from tuneforge.errors import ConfigError, DataRefused
from tuneforge.rows import Loaded
from tuneforge.settings import Packing
from tuneforge.training import packing, probe, view
from tuneforge.training.chat import chat
from tuneforge.training.encode import EncodedSet
from tuneforge.training.optimise import planned_steps

if TYPE_CHECKING:
    from tuneforge.settings import Run

TURNS = {
    "marks": "the chat template's generation marks",
    "trl": "TRL's training template for this model",
    "prefix": "the conversation rendered turn by turn",
}
"""How assistant turns are told, by the source of the `Chat`."""
ENOUGH_STEPS = 100
"""With fewer, packing is not chosen by itself."""
MASKS = {
    "text": "every token of the text",
    "completion": "where the tokens of prompt and completion diverge from the prompt's",
    "preference": "where the tokens of prompt and answer diverge from the prompt's",
    "prompt": "what the model itself answers",
}


@dataclass
class Proof:
    """The proof of one run; `dataclasses.asdict` of it is JSON."""

    rows: int = 0
    """Encodings that train; a text cut into chunks counts once per chunk."""
    texts: int = 0
    """Rows of the data behind them."""
    rejected: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    """Loss items: tokens that carry loss, or what else the strategy counts."""
    unit: str = "tokens"
    """What a loss item is."""
    loss_share: float = 0.0
    """Share of the tokens that carry loss; 0 where the items are no tokens."""
    max_length: int = 0
    stop_token: str = ""
    stop_trained: int = 0
    """Texts whose stop token carries loss."""
    mask_from: str = ""
    """How it is known which tokens are the assistant's."""
    mask_checked: int = 0
    """Rows of the preview whose loss was held against the answers and found right."""
    literal: int = 0
    chunked: int = 0
    packed: bool = False
    packing_reason: str = ""
    isolation: float | None = None
    """Largest logit difference of two documents packed and alone; null where it was not measured."""
    units: int = 0
    """Rows or packs per epoch."""
    fill: float = 1.0
    steps: int = 0
    seconds_per_step: float = 0.0
    timed_exactly: bool = True
    planned_seconds: float = 0.0
    """Planned seconds of training."""
    warnings: list[str] = field(default_factory=list)
    preview: list[dict[str, Any]] = field(default_factory=list)


def prove(run: Run, loaded: Loaded, encoded: EncodedSet, context: Context) -> Proof:
    """The proof. Raises DataRefused where nothing carries loss, or where loss stands on the wrong tokens."""
    _refuse_without_loss(encoded)
    _refuse_misfit(run, loaded, context)
    proof = _counted(run, encoded, loaded)
    _prove_mask(run, loaded, encoded, proof)
    packs = _decide_packing(run, loaded, encoded, proof, context)
    _plan(run, loaded, encoded, packs, proof, context)
    _warn(run, proof)
    for warning in proof.warnings:
        context.note(f"warning: {warning}")
    return proof


def write(proof: Proof, encoded: EncodedSet, folder: Path) -> None:
    """`data/preview.jsonl`, and the proof under the key `proof` of `data/audit.json`."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(entry, ensure_ascii=True) for entry in proof.preview]
    (data / "preview.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    audit = data / "audit.json"
    content = json.loads(audit.read_text(encoding="utf-8")) if audit.exists() else {}
    content["proof"] = {k: v for k, v in asdict(proof).items() if k != "preview"}
    if proof.isolation is not None and proof.isolation == float("inf"):
        content["proof"]["isolation"] = "infinite"
    audit.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _refuse_without_loss(encoded: EncodedSet) -> None:
    if encoded.loss_tokens:
        return
    reasons: dict[str, int] = {}
    for rejected in encoded.rejected:
        reasons[rejected.reason] = reasons.get(rejected.reason, 0) + 1
    common = sorted(reasons.items(), key=lambda pair: -pair[1])[:3]
    listed = "; ".join(f"{n:,} x {reason}" for reason, n in common)
    raise DataRefused(
        f"nothing carries loss: of {len(encoded.rows) + len(encoded.rejected):,} rows {len(encoded.rejected):,} were"
        f" rejected{f' ({listed})' if listed else ''}, and the others label no token"
    )


def _refuse_misfit(run: Run, loaded: Loaded, context: Context) -> None:
    reasons = list(run.strategy.fits(loaded, context))
    if reasons:
        raise ConfigError("\n".join(f"strategy={run.strategy.name}: {reason}" for reason in reasons))


def _counted(run: Run, encoded: EncodedSet, loaded: Loaded) -> Proof:
    return Proof(
        rows=len(encoded.rows),
        texts=encoded.texts,
        rejected=len(encoded.rejected),
        tokens=encoded.tokens,
        loss_tokens=encoded.loss_tokens,
        loss_share=encoded.loss_tokens / encoded.tokens if run.strategy.unit == "tokens" else 0.0,
        unit=run.strategy.unit,
        max_length=encoded.max_length,
        stop_token=_stop_token(encoded, loaded),
        stop_trained=encoded.stop_trained,
        mask_from=MASKS.get(run.strategy.record) or TURNS.get(chat(loaded.tokenizer).source, ""),
        literal=encoded.literal,
        chunked=encoded.chunked,
    )


def _stop_token(encoded: EncodedSet, loaded: Loaded) -> str:
    """The stop token that most rows train, else the tokenizer's end-of-text token."""
    found = encoded.stops.most_common(1)[0][0] if encoded.stops else loaded.tokenizer.eos_token_id
    return "" if found is None else str(loaded.tokenizer.convert_ids_to_tokens(found))


def _prove_mask(run: Run, loaded: Loaded, encoded: EncodedSet, proof: Proof) -> None:
    n = max(run.audit.preview, 1)
    rows, sources = encoded.rows[:n], encoded.sources[:n]
    proof.preview = view.preview(rows, sources, loaded.tokenizer, run.audit.preview)
    wrong, unknown = view.check_mask(run.strategy, rows, sources, loaded.tokenizer)
    if wrong:
        first = wrong[0]
        part = f" ({first.part})" if first.part else ""
        raise DataRefused(
            f"wrong mask: {first.row.place}{part}: {first.found}."
            f" {len(wrong)} of the first {len(rows)} rows; strategy={run.strategy.name}"
        )
    proof.mask_checked = len(rows) - unknown


def _decide_packing(
    run: Run, loaded: Loaded, encoded: EncodedSet, proof: Proof, context: Context
) -> list[list[int]] | None:
    proof.packed, proof.packing_reason = _allowed(run, loaded, proof)
    packs = packing.pack(encoded.rows, encoded.max_length) if proof.packed else []
    if proof.packed and run.batch.packing is Packing.auto:
        _keep_enough_steps(run, len(encoded.rows), len(packs), proof)
    if not proof.packed:
        if run.batch.packing is Packing.on:
            raise ConfigError(f"batch.packing=on: {proof.packing_reason}; use batch.packing=auto or off")
        if run.batch.packing is Packing.auto and run.strategy.packable:
            context.note(f"packing is off: {proof.packing_reason}")
        proof.units = len(encoded.rows)
        return None
    proof.units = len(packs)
    proof.fill = packing.fill(packs, encoded.rows, encoded.max_length)
    return packs


def _keep_enough_steps(run: Run, rows: int, packs: int, proof: Proof) -> None:
    """Packing off where it would leave a small data set with too few optimizer steps to learn from."""
    packed, plain = (planned_steps(run, units)[1] for units in (packs, rows))
    if packed < ENOUGH_STEPS and packed < plain:
        proof.packed = False
        proof.packing_reason = (
            f"it would leave {packed:,} optimizer steps instead of {plain:,}; batch.packing=on packs all the same"
        )


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


def _plan(
    run: Run, loaded: Loaded, encoded: EncodedSet, packs: list[list[int]] | None, proof: Proof, context: Context
) -> None:
    from tuneforge.training.timing import time_step

    proof.steps = planned_steps(run, proof.units)[1]
    timing = time_step(run, loaded, encoded, packs, context)
    proof.seconds_per_step, proof.timed_exactly = timing.seconds, timing.exact
    proof.planned_seconds = proof.steps * timing.seconds


def _warn(run: Run, proof: Proof) -> None:
    answered = run.strategy.record != "prompt"  # what the model is only asked ends with no answer
    if run.strategy.head == "causal_lm" and answered and proof.stop_trained < proof.texts:
        how = "in no row" if not proof.stop_trained else f"only in {proof.stop_trained:,} of {proof.texts:,} rows"
        proof.warnings.append(
            f"the stop token {proof.stop_token!r} is trained {how}: the tuned model may not know where to end;"
            " let the chat template end each assistant turn with a token of the tokenizer, as eos_token"
        )
    if proof.packed and proof.steps < ENOUGH_STEPS and proof.texts > 8 * proof.units:
        proof.warnings.append(
            f"only {proof.steps} optimizer steps: packing puts {proof.texts / proof.units:.0f} rows into a sequence and"
            f" batch.size={run.batch.size} sequences into a step;"
            " lower batch.size or batch.max_length, or set batch.packing=off"
        )
