"""What is proved before the first step: where the loss is, what was dropped, what it will cost."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tuneforge.components import Context
from tuneforge.errors import ConfigError, DataRefused
from tuneforge.rows import Loaded
from tuneforge.rules import NO_FLOAT16
from tuneforge.training.batches import batching
from tuneforge.training.memory.trial import spread
from tuneforge.training.text import classes, view
from tuneforge.training.text.chat import chat
from tuneforge.training.text.encode import EncodedSet

if TYPE_CHECKING:
    from tuneforge.settings import Run

TURNS = {
    "marks": "the chat template's generation marks",
    "trl": "TRL's training template for this model",
    "prefix": "the conversation rendered turn by turn",
}
"""How assistant turns are told, by the source of the `Chat`."""
MASKS = {
    "text": "every token of the text",
    "completion": "where the tokens of prompt and completion diverge from the prompt's",
    "preference": "where the tokens of prompt and answer diverge from the prompt's",
    "label": "the class of the text",
    "tags": "one token of each word, unless all are trained",
    "pair": "which texts belong together",
    "prompt": "what the model itself answers",
}


CHECKED = 2000
"""Most rows whose mask is checked; they take about a third of the time that encoding them takes."""


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
    classes: dict[str, int] = field(default_factory=dict)
    """Class → training rows, or tag → words; the most frequent first."""
    generates: bool = True
    """Rows hold text that the model is to write, so it must learn from them where to end."""
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
    """Rows whose loss was held against the answers and found right: all, or 2,000 spread over the set."""
    literal: int = 0
    chunked: int = 0
    packed: bool = False
    packing_reason: str = ""
    isolation: float | None = None
    """Largest logit difference of two documents packed and alone; null where it was not measured."""
    units: int = 0
    """Rows or packs per epoch."""
    fill: float = 1.0
    """Share of the packs' tokens that are no padding."""
    packing_speed: float | None = None
    """Tokens per second of packs against those of rows grouped by length, on this model; null: not tried."""
    grouped: bool = False
    """Rows of like length share a step."""
    padding: float = 0.0
    """Share of the tokens of a batch that are padding."""
    micro: int = 0
    """Rows or packs per forward pass."""
    memory: dict[str, float] = field(default_factory=dict)
    """The memory plan in bytes: parameters, gradients, optimizer, other models, activations (of one row or pack),
    logits, peak and what is available; and size and micro."""
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
    batching.decide(run, loaded, encoded, proof, context)
    _warn(run, proof)
    proof.warnings += classes.warnings(encoded.sources, run.strategy.record)
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
    others = ", and the others label no token" if encoded.rows else ""
    raise DataRefused(
        f"nothing carries loss: of {len(encoded.rows) + len(encoded.rejected):,} rows {len(encoded.rejected):,} were"
        f" rejected{f' ({listed})' if listed else ''}{others}"
    )


def _refuse_misfit(run: Run, loaded: Loaded, context: Context) -> None:
    here = torch.cuda.is_available() or torch.backends.mps.is_available()
    if run.trainer.precision.startswith("16-") and not here:
        raise ConfigError(f"trainer.precision={run.trainer.precision}: {NO_FLOAT16}")
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
        classes=classes.counted(encoded.sources, run.strategy.record),
        generates=run.strategy.head == "causal_lm" and run.strategy.record != "prompt",
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
    proof.preview = view.preview(
        encoded.rows, encoded.sources, loaded.tokenizer, run.audit.preview, run.strategy.loss_items
    )
    chosen = spread(range(len(encoded.rows)), CHECKED)
    rows, sources = [encoded.rows[i] for i in chosen], [encoded.sources[i] for i in chosen]
    wrong, unknown = view.check_mask(run.strategy, rows, sources, loaded.tokenizer)
    if wrong:
        first = wrong[0]
        part = f" ({first.part})" if first.part else ""
        raise DataRefused(
            f"wrong mask: {first.row.place}{part}: {first.found}."
            f" {len(wrong):,} of {len(rows):,} rows that were checked; strategy={run.strategy.name}"
        )
    proof.mask_checked = len(rows) - unknown


def _warn(run: Run, proof: Proof) -> None:
    if proof.generates and proof.stop_trained < proof.texts:
        how = "in no row" if not proof.stop_trained else f"only in {proof.stop_trained:,} of {proof.texts:,} rows"
        proof.warnings.append(
            f"the stop token {proof.stop_token!r} is trained {how}: the tuned model may not know where to end;"
            " let the chat template end each assistant turn with a token of the tokenizer, as eos_token"
        )
    few = proof.steps < batching.ENOUGH_STEPS and proof.steps != run.trainer.max_steps
    if proof.packed and few and proof.texts > 8 * proof.units:
        proof.warnings.append(
            f"only {proof.steps} optimizer steps: packing puts {proof.texts / proof.units:.0f} rows into a sequence and"
            f" batch.size={run.batch.size} sequences into a step;"
            " lower batch.size or batch.max_length, or set batch.packing=off"
        )
