"""Rows of evaluation sets that stand in the training data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuneforge.preparation import signature
from tuneforge.rows import HeldOut, Row


@dataclass(frozen=True)
class Leak:
    """A held-out row that stands in training, case and whitespace aside."""

    split: str
    set: str
    held_out_place: str
    train_place: str
    kind: str
    """`row`: prompt and answer (or text); `prompt`: the prompt alone, with another answer."""


def leaks(train: Sequence[Row], held_out: Sequence[HeldOut]) -> list[Leak]:
    """All leaks, one per held-out row at most, rows before prompts. Linear in the number of rows.

    Every assistant turn of a training conversation counts, so a held-out conversation that is the
    beginning of a longer training conversation is found too.
    """
    if not any(s.rows for s in held_out):
        return []
    prompts: dict[bytes, Row] = {}
    wholes: dict[bytes, Row] = {}
    for row in train:
        for turn in signature.turns(row.columns):
            prompts.setdefault(turn.prompt, row)
            wholes.setdefault(turn.whole, row)
    prompts.pop(b"", None)
    wholes.pop(b"", None)
    found = [leak for held in held_out for leak in _of_set(held, prompts, wholes)]
    return sorted(found, key=lambda leak: leak.kind != "row")


def _of_set(held: HeldOut, prompts: dict[bytes, Row], wholes: dict[bytes, Row]) -> Iterator[Leak]:
    for row in held.rows:
        turns = list(signature.turns(row.columns))
        # Of a conversation only the last answer is evaluated, with everything before it.
        checked = turns[-1:] if "messages" in row.columns and "prompt" not in row.columns else turns
        same = next((wholes[t.whole] for t in checked if t.whole in wholes), None)
        if same is not None:
            yield Leak(held.split, held.name, row.place, same.place, "row")
            continue
        alike = next((prompts[t.prompt] for t in checked if t.prompt in prompts), None)
        if alike is not None:
            yield Leak(held.split, held.name, row.place, alike.place, "prompt")
