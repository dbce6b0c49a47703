"""The choices of a row as answers to its prompt, and how likely each is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from tuneforge.conversation import split
from tuneforge.rows import Row, content_hash

if TYPE_CHECKING:
    from tuneforge.evaluation.statistics import Floats


def answered(row: Row, choice: str) -> Row:
    """The row's prompt with this answer."""
    prompt = row.columns["prompt"] if row.columns.get("prompt") is not None else (split(row.columns) or ((), ()))[0]
    tools = {"tools": row.columns["tools"]} if row.columns.get("tools") else {}
    columns = {"prompt": prompt, "completion": choice, **tools}
    return replace(row, columns=columns, id=content_hash(columns))


def likely(scores: Floats) -> Floats:
    """(n,) nats of (n, 3) nats, tokens and bytes: -inf for a choice that could not be scored, which has no tokens."""
    return cast("Floats", np.where(np.isfinite(scores[:, 0]) & (scores[:, 1] > 0), scores[:, 0], -np.inf))
