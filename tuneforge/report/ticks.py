"""Is it right? Five answers, each with the rows behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuneforge.report.files import RunFiles

MOST = 50
"""Rows shown under an answer."""
LEAKAGE = ("leakage", "near_leakage", "shared_prompts")
"""Checks of the audit that compare held-out rows with training rows."""
TOO_LONG = ("longer than", "too long", "max_length", "over-long")


@dataclass(frozen=True)
class Tick:
    """One proof: `state` is right, look, wrong or unknown; `rows` are (place, what, detail)."""

    name: str
    state: str
    text: str
    rows: Sequence[tuple[str, str]] = field(default_factory=tuple)
    preview: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def ticks(run: RunFiles) -> list[Tick]:
    """Mask, stop token (of a model that writes), leakage, dropped rows, truncation."""
    proof = run.audit.get("proof")
    stop = [_stop(run, proof)] if not proof or proof.get("generates", True) else []
    return [_mask(run, proof), *stop, _leakage(run), _dropped(run), _truncated(run, proof)]


def _mask(run: RunFiles, proof: Mapping[str, Any] | None) -> Tick:
    if not proof:
        error = str(run.record.get("error") or "")
        wrong = "mask" in error or "carries loss" in error
        unknown = Tick("Mask", "unknown", "the run did not get as far as the mask")
        return Tick("Mask", "wrong", error) if wrong else unknown
    shown = run.preview[:MOST]
    text = f"loss on {_share(proof.get('loss_share'))} of {_count(proof.get('tokens'))} tokens"
    if proof.get("unit", "tokens") != "tokens":
        text = f"loss on {_count(proof.get('loss_tokens'))} {proof['unit']}, {_count(proof.get('tokens'))} tokens"
    if proof.get("mask_from"):
        text += f", told by {proof['mask_from']}"
    checked = proof.get("mask_checked")
    if checked:
        text += f"; compared with the answers in {checked} rows"
    whole = not proof.get("generates", True) and proof.get("unit", "tokens") != "tokens"  # there is no mask to be wrong
    return Tick("Mask", "right" if checked or whole else "look", text, preview=shown)


def _stop(run: RunFiles, proof: Mapping[str, Any] | None) -> Tick:
    if not proof:
        return Tick("Stop token", "unknown", "the run did not get as far as the stop token")
    trained, rows = int(proof.get("stop_trained") or 0), int(proof.get("texts") or proof.get("rows") or 0)
    text = f"{proof.get('stop_token') or 'none'} carries loss in {_count(trained)} of {_count(rows)} rows"
    state = "right" if trained >= rows else "look" if trained else "wrong"
    ends = [(str(p.get("place", "")), "… " + str(p.get("text", ""))[-70:]) for p in run.preview[:MOST]]
    return Tick("Stop token", state, text, ends)


def _leakage(run: RunFiles) -> Tick:
    found = [f for f in run.audit.get("findings") or [] if f.get("check") in LEAKAGE]
    if not any(f["check"] == "leakage" for f in found):
        return Tick("Leakage", "unknown", "training and held-out rows were not compared")
    bad = [f for f in found if f.get("severity") in ("error", "warning")]
    state = "wrong" if any(f["check"] == "leakage" for f in bad) else "look" if bad else "right"
    pairs = [place for f in bad for place in f.get("places") or []]
    rows = [(str(p.get("held_out")), f"{p.get('kind')} also at {p.get('training')}") for p in pairs[:MOST]]
    return Tick("Leakage", state, "; ".join(str(f.get("text")) for f in bad or found[:1]), rows)


def _dropped(run: RunFiles) -> Tick:
    sources = run.audit.get("sources")
    if sources is None:
        return Tick("Dropped rows", "unknown", "no data was read")
    read = sum(int(s.get("read") or 0) for s in sources)
    reasons: Counter[str] = Counter()
    for source in sources:
        reasons.update(source.get("reasons") or {})
    for transform in run.audit.get("transforms") or []:
        reasons.update({f"{transform.get('name')}: {why}": n for why, n in (transform.get("reasons") or {}).items()})
    rejected = int((run.audit.get("proof") or {}).get("rejected") or 0)
    if rejected:
        reasons["could not be encoded"] += rejected
    if not reasons:
        return Tick("Dropped rows", "right", f"none of {_count(read)} rows read")
    text = ", ".join(f"{_count(n)} {why}" for why, n in reasons.most_common(6))
    refused = run.record.get("status") == "refused" and "quarantin" in str(run.record.get("error"))
    return Tick(
        "Dropped rows",
        "wrong" if refused else "look",
        f"{_count(reasons.total())} of {_count(read)} rows read: {text} (data/quarantine.jsonl)",
        [_quarantined(q) for q in run.quarantine[:MOST]],
    )


def _truncated(run: RunFiles, proof: Mapping[str, Any] | None) -> Tick:
    if not proof:
        return Tick("Truncation", "unknown", "the run did not get as far as encoding")
    longer = [q for q in run.quarantine if any(word in str(q.get("reason")) for word in TOO_LONG)]
    text = f"0 rows truncated at {_count(proof.get('max_length'))} tokens"
    if proof.get("chunked"):
        text += f"; {_count(proof['chunked'])} long texts cut into chunks, nothing lost"
    if longer:
        text += f"; {len(longer)}{'+' * (len(run.quarantine) >= 100)} too long, left out whole"
    return Tick("Truncation", "look" if longer else "right", text, [_quarantined(q) for q in longer[:MOST]])


def _quarantined(row: Mapping[str, Any]) -> tuple[str, str]:
    place = row.get("file") or row.get("set") or "?"
    return f"{place}:{row.get('line', '')}", str(row.get("reason", ""))


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else "?"


def _share(value: Any) -> str:
    return f"{value:.1%}" if isinstance(value, int | float) else "?"
