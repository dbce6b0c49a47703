"""Both sides of a preference pair in one sequence, so that their common beginning is computed once.

A row holds what both sides begin with, then the rest of the chosen side, then the rest of the rejected one. The
rest of the rejected side has the positions that it would have without the chosen one, and an attention mask
hides the chosen one from it. Whether a model's attention takes that is measured on the model, not assumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from tuneforge.rows import Encoded
from tuneforge.training.batches.collate import collate
from tuneforge.training.loss import likelihood
from tuneforge.training.mode import evaluating

if TYPE_CHECKING:
    from tuneforge.rows import Batch

SIDES = ("chosen", "rejected")
PAYS = 0.85
"""Share of the two-row form's tokens up to which the joint form is taken; its mask costs attention some speed."""
LIMIT = 1e-5
"""Largest difference of a token's log-probability, relative to the largest one, at which both forms are equal."""
Scored = tuple[Tensor, Tensor]


class Joint(NamedTuple):
    """A batch of pairs, one sequence (length) per pair, and where the tokens of each side stand in it."""

    input_ids: Tensor
    position_ids: Tensor
    segments: Tensor
    """int64 (pairs, length): 0 both sides, 1 the rest of chosen, 2 the rest of rejected, 3 padding."""
    places: tuple[Tensor, Tensor]
    """Per side int64 (pairs, width of the side); padding of a side stands at place 0."""

    def mask(self, dtype: torch.dtype) -> Tensor:
        """(pairs, 1, length, length), added to attention scores: 0 where a token sees another, else the least."""
        query, key = self.segments[:, :, None], self.segments[:, None, :]
        seen = ((query == key) | ((key == 0) & (query != 3))).tril()
        return torch.where(seen, 0.0, torch.finfo(dtype).min).to(dtype)[:, None]


def join(batch: Batch) -> Joint:
    """The joint form of a right-padded batch with `input_ids` and `attention_mask` of `chosen` and `rejected`."""
    chosen, rejected = (batch[f"{side}.input_ids"] for side in SIDES)
    first, second = (batch[f"{side}.attention_mask"].sum(1, keepdim=True) for side in SIDES)
    width = min(chosen.shape[1], rejected.shape[1])
    inside = torch.arange(width, device=chosen.device) < torch.minimum(first, second)
    common = ((chosen[:, :width] == rejected[:, :width]) & inside).long().cumprod(1).sum(1, keepdim=True)
    whole = first + second - common
    at = torch.arange(int(whole.max()), device=chosen.device)
    late, padding = at >= first, at >= whole
    positions = torch.where(late, at - first + common, at).masked_fill(padding, 0)
    ids = torch.where(late, _take(rejected, positions), _take(chosen, positions))
    segments = (at >= common).long() + late + padding
    here, there = (torch.arange(side.shape[1], device=side.device) for side in (chosen, rejected))
    moved = torch.where(there < common, there, there + first - common)
    places = torch.where(here < first, here, 0), torch.where(there < second, moved, 0)
    return Joint(ids, positions, segments, places)


def _take(ids: Tensor, positions: Tensor) -> Tensor:
    return ids.gather(1, positions.clamp(max=ids.shape[1] - 1))


def scores(model: Module, parts: likelihood.Parts | None, batch: Batch, joint: Joint) -> dict[str, Scored]:
    """Side → what `likelihood.token_log_probs` gives for it, both from one forward pass of the joint form."""
    mask = joint.mask(_dtype(model))
    fields = {"input_ids": joint.input_ids, "position_ids": joint.position_ids, "attention_mask": mask}
    states = likelihood.states(model, parts, fields)
    found = {}
    for side, places in zip(SIDES, joint.places, strict=True):
        index = places[:, :-1, None].expand(-1, -1, states.shape[-1])
        found[side] = likelihood.scored(parts, states.gather(1, index), batch[f"{side}.labels"])
    return found


def _dtype(model: Module) -> torch.dtype:
    return next(p.dtype for p in model.parameters() if p.is_floating_point())


class SharedPrompt:
    """The joint form in use: both sides from one forward pass, whichever is asked for first.

    What a side's twin has cost is kept until it is asked for, and no longer than the batch at hand.
    """

    def __init__(self) -> None:
        self.on = False
        self.purpose = "policy"
        self._kept: dict[tuple[str, str], tuple[Tensor, Scored]] = {}

    def serves(self, batch: Batch, part: str) -> bool:
        """Whether the part is one side of pairs, and the joint form was proved."""
        return self.on and part in SIDES and all(f"{side}.input_ids" in batch for side in SIDES)

    def side(self, model: Module, parts: likelihood.Parts | None, batch: Batch, part: str) -> Scored:
        """What `likelihood.token_log_probs` gives for the part."""
        whose = batch["chosen.input_ids"]
        known = self._kept.pop((self.purpose, part), None)
        if known is not None and known[0] is whose:
            return known[1]
        found = scores(model, parts, batch, join(batch))
        other = SIDES[1 - SIDES.index(part)]
        self._kept[self.purpose, other] = whose, found[other]
        return found[part]

    def forget(self) -> None:
        """Keep nothing of the batch at hand."""
        self._kept.clear()

    @contextmanager
    def reference(self) -> Iterator[None]:
        """What is asked for in here is not the policy's."""
        self.purpose = "reference"
        try:
            yield
        finally:
            self.purpose = "policy"


def decide(model: Module, parts: likelihood.Parts | None, rows: Sequence[Encoded]) -> tuple[bool, str]:
    """Whether these rows are to be trained in the joint form, and why or why not; empty for rows without sides.

    It pays where prompts are long; it is exact where this very model says so on its longest and shortest pair.
    """
    if not rows or any(f"{side}.labels" not in rows[0].parts for side in SIDES):
        return False, ""
    two = sum(len(row.parts[f"{side}.input_ids"]) for row in rows for side in SIDES)
    one = two - sum(_common(row) for row in rows)
    if one > PAYS * two:
        return False, (
            f"each pair stays two rows: sharing its prompt would leave {one / two:.0%} of the tokens, and does not pay"
        )
    ordered = sorted(rows, key=lambda row: sum(map(len, row.parts.values())))
    why = _differs(model, parts, [ordered[-1], ordered[0]])
    if why:
        return False, f"each pair stays two rows, though one with a shared prompt would be shorter: {why}"
    return True, f"the prompt of a pair is computed once: {one:,} tokens per epoch instead of {two:,}, equal results"


def _common(row: Encoded) -> int:
    chosen, rejected = (row.parts[f"{side}.input_ids"] for side in SIDES)
    shared = zip(chosen, rejected, strict=False)
    return next((at for at, (a, b) in enumerate(shared) if a != b), min(len(chosen), len(rejected)))


def _differs(model: Module, parts: likelihood.Parts | None, rows: Sequence[Encoded]) -> str:
    """Why the joint form is not this model's two-row form; empty where it is. Modes are left as they were."""
    device = next(model.parameters()).device
    plain = [row._replace(parts={k: v for k, v in row.parts.items() if k.startswith(SIDES)}, extras={}) for row in rows]
    batch = {name: tensor.to(device) for name, tensor in collate(plain, 0).items()}
    joint = join(batch)
    # Other tokens in the rest of chosen: rejected must not notice.
    swapped = joint._replace(input_ids=torch.where(joint.segments == 1, joint.input_ids[:, :1], joint.input_ids))
    with evaluating(model), torch.no_grad():
        want = {side: likelihood.token_log_probs(model, parts, batch, side)[0] for side in SIDES}
        try:
            got, blind = scores(model, parts, batch, joint), scores(model, parts, batch, swapped)["rejected"][0]
        except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError, AttributeError) as error:
            return f"the model does not take it ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    largest = max(1.0, *(float(x.abs().max()) for x in want.values()))
    leak = float((blind - got["rejected"][0]).abs().max())
    gap = max(leak, *(float((got[side][0] - want[side]).abs().max()) for side in SIDES))
    # In 16 bits, sums of another shape round differently.
    limit = max(LIMIT, 8 * torch.finfo(_dtype(model)).eps) * largest
    return "" if gap <= limit and leak <= LIMIT * largest else f"its log-probabilities differ by {gap:.2g}"
