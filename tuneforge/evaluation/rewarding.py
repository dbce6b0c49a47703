"""Answers read by a reward model."""

from __future__ import annotations

from collections.abc import Sequence

from tuneforge.components import Context
from tuneforge.errors import TuneForgeError
from tuneforge.evaluation.lm import context_length
from tuneforge.rows import Loaded, Row
from tuneforge.training.devices.place import place

BATCH_TOKENS = 16384


def rewards(judge: Loaded, rows: Sequence[Row], context: Context) -> list[float]:
    """The first output for each row's prompt and completion, in the order of the rows.

    Raises TuneForgeError for a row that cannot be rendered, or is longer than the judge reads.
    """
    import torch

    ids = _ids(judge, rows)
    found = [0.0] * len(rows)
    model, pad = judge.model.to(place(context.run)), int(judge.tokenizer.pad_token_id or 0)
    with torch.no_grad():
        for places in _batches([len(one) for one in ids]):
            width = len(ids[places[0]])
            padded = torch.tensor([ids[i] + [pad] * (width - len(ids[i])) for i in places], device=model.device)
            lengths = torch.tensor([len(ids[i]) for i in places], device=model.device)
            mask = (torch.arange(width, device=model.device) < lengths.unsqueeze(1)).long()
            scores = model(input_ids=padded, attention_mask=mask).logits[:, 0].float().tolist()
            for at, score in zip(places, scores, strict=True):
                found[at] = score
    return found


def _ids(judge: Loaded, rows: Sequence[Row]) -> list[list[int]]:
    from tuneforge.training.text.render import RenderError, answers

    limit, found = context_length(judge.model), []
    for row, one in zip(rows, answers([row.columns for row in rows], judge.tokenizer, "completion"), strict=True):
        if isinstance(one, RenderError):
            raise TuneForgeError(f"{row.place}: the reward model cannot read an answer: {one}")
        if limit is not None and len(one.ids) > limit:
            raise TuneForgeError(
                f"{row.place}: {len(one.ids):,} tokens of prompt and answer, and the reward model reads {limit:,};"
                " lower strategy.max_tokens, or drop long prompts with transform=[length]"
            )
        found.append(one.ids)
    return found


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices by length, longest first, as many as fit BATCH_TOKENS."""
    found: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not found or (len(found[-1]) + 1) * lengths[found[-1][0]] > BATCH_TOKENS:
            found.append([])
        found[-1].append(i)
    return found
