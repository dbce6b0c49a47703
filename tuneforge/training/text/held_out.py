"""Evaluation rows that a model with a head can be asked, or that have a loss: none is cut or left out silently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tuneforge.components import Context
from tuneforge.rows import HeldOut, Rejected, Row
from tuneforge.settings import Run
from tuneforge.training.text.encode import EncodedSet, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer


def askable(
    run: Run, held_out: Sequence[HeldOut], tokenizer: Tokenizer, context: Context
) -> tuple[list[HeldOut], dict[str, list[Rejected]]]:
    """The sets without the rows that the strategy rejects, and those rows by `split.name`.

    A causal model is asked with prompts of its own and reads long texts in windows, so its sets stay as they are;
    so do those of a strategy that cuts long rows into chunks.
    """
    strategy = run.strategy
    if strategy.head == "causal_lm" or strategy.chunked:
        return list(held_out), {}
    kept: list[HeldOut] = []
    rejected: dict[str, list[Rejected]] = {}
    for held in held_out:
        mine = [row for row in held.rows if strategy.takes(row.columns)]
        odd = encode(run, mine, tokenizer, context, f"{held.split}.{held.name}").rejected
        out = {id(one.row) for one in odd}
        kept.append(replace(held, rows=[row for row in held.rows if id(row) not in out]))
        if odd:
            rejected[f"{held.split}.{held.name}"] = odd
    return kept, rejected


def watched(
    run: Run, held_out: Sequence[HeldOut], tokenizer: Tokenizer, context: Context
) -> tuple[EncodedSet | None, dict[str, list[Rejected]]]:
    """The validation rows with a loss, None where there is no such set; and the rejected rows by `split.name`.

    Rows of another kind than the strategy trains on have no loss; they are counted aloud, and serve the evaluators.
    """
    sets = [held for held in held_out if held.split == "validation" and held.rows]
    for held in sets:
        others = sum(not run.strategy.takes(row.columns) for row in held.rows)
        if others:
            context.note(
                f"{held.split}.{held.name}: {others:,} of {len(held.rows):,} rows have no validation loss:"
                f" strategy={run.strategy.name} trains on {run.strategy.record} rows",
                rows=others,
            )
    places = {_place(row): f"{held.split}.{held.name}" for held in sets for row in held.rows}
    mine = [row for held in sets for row in held.rows if run.strategy.takes(row.columns)]
    if not mine:
        return None, {}
    found = encode(run, mine, tokenizer, context, "validation")
    rejected: dict[str, list[Rejected]] = {}
    for one in found.rejected:
        rejected.setdefault(places[_place(one.row)], []).append(one)
    return found, rejected


def _place(row: Row) -> tuple[str, str, int | str]:
    """Where a row was read; several examples made of one row share it."""
    return row.source, row.file, row.line
