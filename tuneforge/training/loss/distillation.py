"""The divergence between a model's probabilities and its teacher's, a chunk of positions at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from tuneforge.errors import ConfigError
from tuneforge.training.batches import probe
from tuneforge.training.loss import likelihood
from tuneforge.training.text.encode import model_context

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.components import Step
    from tuneforge.rows import Batch, Loaded

LARGEST = 2**23
"""Most logits of each model that exist at once; beyond, positions are worked through in chunks."""

Head = Callable[[Tensor], Tensor]


class Measure(NamedTuple):
    """The teacher's weight in the mixture, the temperature, the smoothing of the cross-entropy (None: without it)."""

    beta: float
    temperature: float
    smoothing: float | None


def compare(
    model: Module, teacher: Module, batch: Batch, step: Step, measure: Measure
) -> tuple[Tensor, Tensor, Tensor]:
    """(divergence, cross-entropy, labelled tokens), each (), in nats summed over the tokens that are predicted.

    Heads are applied to labelled positions only. Where their logits pass LARGEST, chunks of positions are
    computed one after the other, and again in the backward pass, so that one chunk's logits are all that is held.
    """
    labels = batch["labels"][:, 1:]
    keep = labels != likelihood.IGNORE
    states, head = _states(model, batch, keep)
    with torch.no_grad():
        known, teachers = _states(teacher, batch, keep)
    common = min(_size(model), _size(teacher))
    size = max(1, LARGEST // common)

    def piece(s: Tensor, t: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = teachers(t)[:, :common].float()
        return _sums(head(s)[:, :common].float(), wanted, target, measure)

    targets = labels[keep]
    pieces = zip(torch.split(states, size), torch.split(known, size), torch.split(targets, size), strict=True)
    again = torch.is_grad_enabled() and len(states) > size
    found = [checkpoint(piece, *p, use_reentrant=False) if again else piece(*p) for p in pieces]
    sums = torch.stack(found).sum(0)
    return sums[0], sums[1], keep.sum()


def divergence(student: Tensor, teacher: Tensor, beta: float) -> Tensor:
    """() nats summed over positions, from log-probabilities (n, vocabulary) of both.

    With weights beta and 1 - beta of teacher and student in the mixture M: beta KL(teacher, M) + (1 - beta)
    KL(student, M), equation 1 of arXiv:2306.13649. At beta 0 it is KL(teacher, student), at 1 KL(student, teacher).
    """
    if beta == 0:
        return (teacher.exp() * (teacher - student)).sum()
    if beta == 1:
        return (student.exp() * (student - teacher)).sum()
    mixture = torch.logaddexp(student + math.log1p(-beta), teacher + math.log(beta))
    teachers, students = teacher.exp() * (teacher - mixture), student.exp() * (student - mixture)
    return (beta * teachers + (1 - beta) * students).sum()


def _sums(student: Tensor, teacher: Tensor, targets: Tensor, measure: Measure) -> Tensor:
    """(2,): divergence, times the square of the temperature as in arXiv:1503.02531, and cross-entropy."""
    t = measure.temperature
    ours = (student / t).log_softmax(-1)
    apart = divergence(ours, (teacher / t).log_softmax(-1), measure.beta) * t**2
    if measure.smoothing is None:
        return torch.stack([apart, torch.zeros_like(apart)])
    return torch.stack([apart, cross_entropy(student, targets, reduction="sum", label_smoothing=measure.smoothing)])


_PARTS: WeakKeyDictionary[Module, Any] = WeakKeyDictionary()


def _states(model: Module, batch: Batch, keep: Tensor) -> tuple[Tensor, Head]:
    """(n, width) states of the positions in `keep`, and the head; logits where these cannot be told apart."""
    if model not in _PARTS:
        _PARTS[model] = likelihood.proved_parts(model)[0]
    fields = likelihood.inputs(batch, "")
    if _PARTS[model] is None:
        return model(**fields, use_cache=False).logits[:, :-1][keep], lambda logits: logits
    parts = _PARTS[model]
    return likelihood.hidden_states(parts, fields)[:, :-1][keep], parts.head


def _size(model: Any) -> int:
    """Rows of the head, padding included."""
    return int(model.config.get_text_config().vocab_size)


_SAID: WeakSet[Module] = WeakSet()


def refuse_teacher(teacher: Loaded, path: str, longest: int, step: Step) -> None:
    """ConfigError, with the reason, for a teacher that cannot judge the model's tokens; its memory is said once."""
    model, where = teacher.model, f"strategy.teacher={path}"
    odd = _differing(step.tokenizer, teacher.tokenizer)
    if odd:
        raise ConfigError(f"{where}: its vocabulary is another one, so probabilities cannot be compared: {odd}")
    context = model_context(model.config.to_dict())
    if context is not None and longest > context:
        raise ConfigError(
            f"{where}: its context is {context} tokens, rows have up to {longest}; lower batch.max_length"
        )
    if step.context.run.batch.packing != "off" and probe.isolation(model, teacher.tokenizer) > probe.LIMIT:
        raise ConfigError(
            f"{where}: it lets rows that are packed into one sequence see each other; set batch.packing=off"
        )
    if model in _SAID:
        return
    _SAID.add(model)
    count = sum(p.numel() for p in model.parameters())
    size = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    step.context.note(f"the teacher, {count:,} parameters, takes {size:,.1f} MiB beside the model", teacher_mib=size)
    if (step.tokenizer.chat_template or "") != (teacher.tokenizer.chat_template or ""):
        step.context.note("the teacher has another chat template; it judges answers in the model's own")


def _differing(ours: Tokenizer, theirs: Tokenizer) -> str:
    """How two vocabularies differ; empty where equal tokens have equal ids."""
    a, b = ours.get_vocab(), theirs.get_vocab()
    odd = sorted(token for token in a.keys() | b.keys() if a.get(token) != b.get(token))
    if not odd:
        return ""
    named = ", ".join(
        f"{token!r} is {a.get(token, 'absent')} here and {b.get(token, 'absent')} there" for token in odd[:3]
    )
    return f"{len(odd):,} of {len(a):,} tokens differ ({named})"
