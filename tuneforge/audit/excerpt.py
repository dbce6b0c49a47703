"""What a finding shows of a row."""

from __future__ import annotations

from tuneforge.audit.finding import Shown
from tuneforge.preparation.features import subject
from tuneforge.rows import Row

CHARACTERS = 160


def excerpt(row: Row, said: str = "") -> Shown:
    """Place and beginning of a row, after what is to be said of it."""
    text = " ".join(subject(row.columns).split())
    cut = text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}…"
    return Shown(row.place, f"{said}: {cut}" if said else cut)
