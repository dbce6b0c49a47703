"""Evaluation rows that a model with a head can be asked: none is cut, none is left out silently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tuneforge.components import Context
from tuneforge.rows import HeldOut, Rejected
from tuneforge.settings import Run
from tuneforge.training.text.encode import encode

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
        odd = encode(run, mine, tokenizer, context).rejected
        out = {id(one.row) for one in odd}
        kept.append(replace(held, rows=[row for row in held.rows if id(row) not in out]))
        if odd:
            rejected[f"{held.split}.{held.name}"] = odd
    return kept, rejected
