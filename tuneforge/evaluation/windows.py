"""Log-probabilities of token sequences, whatever their length: no token is left out, none scored twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tuneforge.evaluation.decoding import forward_options

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 64


class Window(NamedTuple):
    """A stretch of one sequence, in which the tokens from `score` (a position in `ids`) on are scored."""

    sequence: int
    ids: Sequence[int]
    score: int


def windows(sequence: int, ids: Sequence[int], start: int, context: int | None) -> Iterator[Window]:
    """Cover `ids[start:]`: in one window where the sequence fits, else in steps of half a context.

    Every token but those of the first window has at least half a context before it. `start` is at least 1,
    because the first token of a sequence has nothing before it.
    """
    if context is None or len(ids) <= context:
        yield Window(sequence, ids, start)
        return
    done, half = start, context // 2
    while done < len(ids):
        end = min(context if done < half else done + half, len(ids))
        begin = max(end - context, 0)
        yield Window(sequence, ids[begin:end], done - begin)
        done = end


def log_probs(
    model: PreTrainedModel, parts: Sequence[Window], batch_tokens: int
) -> Iterator[tuple[list[int], list[float]]]:
    """Batch by batch which of the parts were scored, and their log-probability (nats, added up in float64).

    Longest first, and cut into batches from the front: what is left when it is stopped and run again on the rest is
    batched as it would have been.
    """
    for places in _batches(parts, batch_tokens):
        yield places, _forward(model, [parts[i] for i in places])


def _batches(parts: Sequence[Window], batch_tokens: int) -> Iterator[list[int]]:
    """Windows of similar length, longest first, at most `batch_tokens` with their padding."""
    batch: list[int] = []
    for i in sorted(range(len(parts)), key=lambda i: -len(parts[i].ids)):
        if (batch and (len(batch) + 1) * len(parts[batch[0]].ids) > batch_tokens) or len(batch) == ROWS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _forward(model: PreTrainedModel, batch: Sequence[Window]) -> list[float]:
    """Sum over the scored tokens of each window; right-padded, so that positions count from zero."""
    import torch

    width, device = max(len(p.ids) for p in batch), model.device
    ids = torch.tensor([[*p.ids, *[0] * (width - len(p.ids))] for p in batch], device=device)
    lengths = torch.tensor([len(p.ids) for p in batch], device=device)
    starts = torch.tensor([p.score for p in batch], device=device)
    place = torch.arange(width, device=device)
    mask = place < lengths[:, None]
    options = forward_options(model, use_cache=False)
    logits = model(input_ids=ids, attention_mask=mask.long(), **options).logits[:, :-1].float()
    named = logits.gather(-1, ids[:, 1:, None])[..., 0] - logits.logsumexp(-1)
    scored = (mask & (place >= starts[:, None]))[:, 1:]
    # masked_fill, not a product: a padding position may hold an infinity.
    values: list[float] = named.double().masked_fill(~scored, 0.0).sum(-1).tolist()
    return values
