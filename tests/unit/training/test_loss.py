"""Every way to the same log-probabilities and gradients, held against float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.unit.training import small
from tuneforge.adapter.lora import Lora
from tuneforge.training.batches.collate import collate
from tuneforge.training.loss import chunked_head, likelihood, linear_cross_entropy

N, WIDTH, VOCABULARY = 37, 24, 211


def reference(states, head, targets, upstream):
    """Gradients of sum(upstream * log-probability) by autograd in float64: states, then the head's parameters."""
    wide = [t.detach().double().requires_grad_() for t in (states, *head.parameters())]
    logits = nn.functional.linear(wide[0], wide[1], wide[2] if len(wide) > 2 else None)
    scores = -nn.functional.cross_entropy(logits, targets, reduction="none")
    (scores * upstream.double()).sum().backward()
    return scores.detach(), [t.grad for t in wide]


@pytest.fixture(params=["plain", "bias"])
def case(request):
    torch.manual_seed(1)
    head = nn.Linear(WIDTH, VOCABULARY, bias=request.param == "bias")
    states = (torch.randn(N, WIDTH) * 3).requires_grad_()
    return head, states, torch.randint(0, VOCABULARY, (N,)), torch.randn(N)


@pytest.mark.parametrize("frozen", [False, True], ids=["trains", "frozen"])
@pytest.mark.parametrize("size", [1, 8, 100])
@pytest.mark.parametrize("way", ["sum", "each"])
def test_chunked_gradients_equal_float64(case, way, size, frozen):
    head, states, targets, upstream = case
    head.requires_grad_(not frozen)
    if way == "sum":
        upstream = torch.full((N,), -0.37)
    want, gradients = reference(states, head, targets, upstream)
    function = linear_cross_entropy.likelihood if way == "sum" else linear_cross_entropy.scores
    got = function(states, head.weight, head.bias, targets, size)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), want.sum() if way == "sum" else want, rtol=1e-5, atol=1e-5)
    (got * (-0.37 if way == "sum" else upstream)).sum().backward()
    found = [states.grad, *(p.grad for p in head.parameters())]
    if frozen:
        assert found[1:] == [None] * len(found[1:])
    for mine, true in zip(found, gradients, strict=True):
        if mine is not None:
            torch.testing.assert_close(mine.double(), true, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", ["likelihood", "scores"])
def test_bfloat16_is_as_close_as_full_logits_are(case, way):
    """Against float64: no further than half again of what torch's own cross entropy on float32 logits is off."""
    head, states, targets, _ = case
    _, want = reference(states.bfloat16(), head.bfloat16(), targets, torch.ones(N))
    off = []
    for chunked in (False, True):
        leaf = states.detach().bfloat16().requires_grad_()
        head.zero_grad()
        if chunked:
            total = getattr(linear_cross_entropy, way)(leaf, head.weight, head.bias, targets, 8).sum()
        else:
            total = -nn.functional.cross_entropy(head(leaf).float(), targets, reduction="sum")
        total.backward()
        found = [leaf.grad, *(p.grad for p in head.parameters())]
        assert all(g.dtype == torch.bfloat16 for g in found)
        off.append([float((g.double() - w).norm() / w.norm()) for g, w in zip(found, want, strict=True)])
    for plain, mine in zip(*off, strict=True):
        assert mine < 1.5 * plain + 1e-4


def test_autocast_is_that_of_a_linear_layer(case):
    head, states, targets, _ = case
    with torch.autocast("cpu", torch.bfloat16):
        want = -nn.functional.cross_entropy(head(states).float(), targets, reduction="sum")
        got = linear_cross_entropy.likelihood(states, head.weight, head.bias, targets, 8)
    torch.testing.assert_close(got, want)
    want.backward()
    expected = [states.grad.clone(), head.weight.grad.clone()]
    states.grad = head.weight.grad = None
    got.backward()
    for mine, plain in zip((states.grad, head.weight.grad), expected, strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, plain, rtol=0.02, atol=0.02)


def test_without_gradients_nothing_is_kept(case):
    head, states, targets, _ = case
    with torch.no_grad():
        for function in (linear_cross_entropy.likelihood, linear_cross_entropy.scores):
            assert not function(states, head.weight, head.bias, targets, 8).requires_grad


def test_a_second_way_back_is_refused(case):
    head, states, targets, _ = case
    total = linear_cross_entropy.likelihood(states, head.weight, head.bias, targets, 8)
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="gone backward before"):
        total.backward()


@pytest.mark.parametrize("frozen", [False, True], ids=["trains", "frozen"])
def test_any_head_a_chunk_at_a_time_with_the_same_dropout_both_times(case, frozen):
    linear, states, targets, upstream = case
    head = nn.Sequential(nn.Dropout(0.5), linear).requires_grad_(not frozen)
    torch.manual_seed(5)
    want = torch.cat([chunked_head.whole(head, s, t) for s, t in zip(states.split(8), targets.split(8), strict=True)])
    (want * upstream).sum().backward()
    expected = [states.grad, *(p.grad for p in head.parameters())]
    states.grad = None
    head.zero_grad()
    torch.manual_seed(5)
    got = chunked_head.scores(head, states, targets, 8)
    torch.testing.assert_close(got, want)
    torch.manual_seed(6)
    before = torch.get_rng_state()
    (got * upstream).sum().backward()
    assert torch.equal(torch.get_rng_state(), before)
    for mine, plain in zip([states.grad, *(p.grad for p in head.parameters())], expected, strict=True):
        assert (mine is None) == (plain is None)
        if mine is not None:
            torch.testing.assert_close(mine, plain, rtol=1e-5, atol=1e-5)


def head_lora():
    return Lora(r=2, targets=["lm_head", "q_proj"])


ADAPTERS = {
    "full": lambda: None,
    "untied": lambda: None,
    "lora": lambda: Lora(r=2),
    "head adapted": head_lora,
    "head saved": lambda: Lora(r=2, modules_to_save=["lm_head"]),
}
"""Name → adapter; which way the head goes follows from the adapter."""


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("way", ["summed", "log_probs"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_whole_models_have_the_gradients_of_full_logits(monkeypatch, tmp_path, name, way):
    """Chunks of a few positions, tied and untied, head frozen, adapted or trained whole."""
    model, adapter = small.llama(tie=name == "full"), ADAPTERS[name]()
    if adapter is not None:
        model = adapter.apply(model, small.context(small.settings(adapter=adapter), tmp_path))
        for parameter in model.parameters():  # PEFT starts its matrices at zero
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(3))
    batch = collate(small.rows(6), 0)
    labels = batch["labels"][:, 1:]
    wide = model.double()
    logits = wide(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    want = -nn.functional.cross_entropy(logits[labels != -100], labels[labels != -100], reduction="sum")
    (-want).backward()
    expected = {n: p.grad for n, p in wide.named_parameters() if p.grad is not None}
    model.zero_grad()
    model = model.float()
    for key, value in (("SMALL", 0), ("LARGEST", 1), ("FEWEST", 5)):
        monkeypatch.setattr(likelihood, key, value)
    parts = likelihood.find_parts(model)
    assert (likelihood.linear_of(parts.head) is None) == (name == "head adapted")
    got = getattr(likelihood, way)(model, parts, batch)[0].sum()
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-5)
    (-got).backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for parameter, gradient in expected.items():
        assert (found[parameter].double() - gradient).norm() <= 1e-5 * gradient.double().norm(), parameter
