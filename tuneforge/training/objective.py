"""What the strategies share: rows as tokens with labels, preference pairs, and the likelihood loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuneforge.conversation import offers
from tuneforge.rows import Encoded, Loss, Rejected, Row
from tuneforge.training.batches.collate import IGNORE
from tuneforge.training.text.literal import RenderError

if TYPE_CHECKING:
    from torch import Tensor
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
    "prompt": "a prompt, or messages that end with the assistant",
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
    return encode_each(rows, "preference", lambda columns: pairs_of(columns, tokenizer))


def pairs_of(columns: Sequence[Mapping[str, Any]], tokenizer: Tokenizer) -> list[Encoded | RenderError]:
    """Parts `chosen.*` and `rejected.*` of preference columns, in order; RenderError where there are none."""
    from tuneforge.training.text.render import answers

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
            found.append(Encoded(answered(chosen.ids, cut, "chosen.") | answered(rejected.ids, cut, "rejected.")))
    return found


def answered(ids: list[int], cut: int, prefix: str = "") -> dict[str, Sequence[int]]:
    """`input_ids` and `labels` of a prompt and an answer that begins at `cut`, their names after `prefix`."""
    return {f"{prefix}input_ids": ids, f"{prefix}labels": [IGNORE] * cut + ids[cut:]}


def likelihood(model: Module, batch: Batch, step: Step, smoothing: float = 0.0) -> Loss:
    """Negative log-likelihood in nats, summed over labelled tokens; `smoothing` of each is spread over the rest."""
    total, count = step.total_log_prob(model, batch, smoothing=smoothing)
    return Loss(-total, count)


def token_mean(log_probs: Tensor, batch: Batch, part: str, step: Step) -> Tensor:
    """The sum of `log_probs` (rows,) in nats, weighed so that, divided by the optimizer step's rows, it becomes a
    mean over all tokens that carry loss in `part` anywhere in that step."""

    import torch

    def counted(batch: Batch) -> Tensor:
        labels = batch[f"{part}.labels" if part else "labels"]
        tokens = (labels[:, 1:] != IGNORE).sum()
        return torch.stack([torch.full_like(tokens, len(labels)), tokens])

    rows, tokens = step.over_step(batch, f"tokens.{part}", counted)
    total: Tensor = log_probs.sum() * (rows / tokens.clamp(min=1))
    return total


def reward_logs(chosen: Tensor, rejected: Tensor) -> dict[str, Tensor]:
    """Rewards of a batch's pairs, (pairs,) each, as sums for the log: both, their margin, how often it is positive."""
    margin = chosen - rejected
    logs = {"chosen": chosen, "rejected": rejected, "margins": margin, "accuracies": (margin > 0).float()}
    return {f"rewards/{name}": value.detach().sum() for name, value in logs.items()}
