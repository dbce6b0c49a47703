"""What the strategies share: rows as tokens with labels, preference pairs, and the likelihood loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuneforge.conversation import offers
from tuneforge.rows import Encoded, Loss, Rejected, Row
from tuneforge.training.collate import IGNORE
from tuneforge.training.literal import RenderError

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.components import Step
    from tuneforge.rows import Batch

FITS = {
    "text": "strategy=clm",
    "preference": "strategy=dpo",
    "messages": "strategy=instruction",
    "completion": "strategy=sft",
    "label": "strategy=classification",
    "tags": "strategy=token_classification",
    "pair": "strategy=contrastive",
    "unpaired": "strategy=kto",
}
"""Record that a row offers → the strategy that trains on it."""
NO_LOSS = "no token carries loss"


def labelled(ids: Sequence[int], mask: Sequence[bool]) -> Encoded:
    """Labels at the tokens whose mask is True."""
    return Encoded({"input_ids": ids, "labels": [t if m else IGNORE for t, m in zip(ids, mask, strict=True)]})


def misfit(columns: Mapping[str, Any], record: str) -> str:
    """Why a row cannot serve a strategy that needs `record`, and which strategy it fits."""
    fits = [strategy for kind, strategy in FITS.items() if offers(columns, kind)]
    has = ", ".join(columns) or "no columns"
    return f"needs {_NEEDS[record]}, the row has {has}" + (f" (fits {' or '.join(fits)})" if fits else "")


_NEEDS = {
    "text": "a text",
    "messages": "messages, or prompt and completion",
    "completion": "prompt and completion, or messages that end with the assistant",
    "preference": "prompt, chosen and rejected",
    "label": "a text and its label",
    "tags": "tokens and as many tags",
    "pair": "an anchor and a positive",
    "unpaired": "prompt, completion and a label that is true or false",
}


def encode_each(
    rows: Sequence[Row],
    record: str,
    encode: Callable[[list[Mapping[str, Any]]], Sequence[Encoded | RenderError]],
) -> Iterator[Encoded | Rejected]:
    """Rows that offer `record` encoded in one call, in order; the others and failures rejected with their reason."""
    fit = [offers(row.columns, record) for row in rows]
    found = iter(encode([row.columns for row, good in zip(rows, fit, strict=True) if good]))
    for row, good in zip(rows, fit, strict=True):
        if not good:
            yield Rejected(row, misfit(row.columns, record))
            continue
        encoded = next(found)
        yield Rejected(row, str(encoded)) if isinstance(encoded, RenderError) else encoded


def encode_pairs(rows: Sequence[Row], tokenizer: Tokenizer) -> Iterator[Encoded | Rejected]:
    """Preference rows in order: parts `chosen.*` and `rejected.*`, labelled from where an answer leaves the prompt."""
    return encode_each(rows, "preference", lambda columns: _pairs(columns, tokenizer))


def _pairs(columns: list[Mapping[str, Any]], tokenizer: Tokenizer) -> list[Encoded | RenderError]:
    from tuneforge.training.render import answers

    found: list[Encoded | RenderError] = []
    sides = (answers(columns, tokenizer, side) for side in ("chosen", "rejected"))
    for chosen, rejected in zip(*sides, strict=True):
        if isinstance(chosen, RenderError):
            found.append(chosen)
        elif isinstance(rejected, RenderError):
            found.append(rejected)
        elif chosen.ids == rejected.ids:
            found.append(RenderError("chosen and rejected are the same"))
        else:
            cut = min(chosen.cut, rejected.cut)
            found.append(Encoded(_side("chosen", chosen.ids, cut) | _side("rejected", rejected.ids, cut)))
    return found


def _side(side: str, ids: list[int], cut: int) -> dict[str, Sequence[int]]:
    return {f"{side}.input_ids": ids, f"{side}.labels": [IGNORE] * cut + ids[cut:]}


def likelihood(model: Module, batch: Batch, step: Step) -> Loss:
    """Negative log-likelihood in nats, summed over labelled tokens."""
    sums, counts = step.log_probs(model, batch)
    return Loss(-sums.sum(), counts.sum())
