"""Sampled continuations: their distribution, their independence of the batch, and what is said of their ends."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from tests.unit.training import small
from tuneforge.adapter.lora import Lora
from tuneforge.rows import Sampling
from tuneforge.training.loss.sampling import pick, prompts_of, sample
from tuneforge.training.step import TrainingStep

PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [12], [20, 21, 22], [30, 31]]


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", *(f"w{i}" for i in range(small.VOCABULARY - 3))]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def step(model: Any, tmp_path: Any, adapter: Any = None) -> TrainingStep:
    run = small.settings(adapter=adapter)
    return TrainingStep(run, model, tokenizer(), small.context(run, tmp_path))


def batch(left: bool) -> dict[str, torch.Tensor]:
    width = max(map(len, PROMPTS))
    pads = [[0] * (width - len(p)) for p in PROMPTS]
    ids = [[*pad, *p] if left else [*p, *pad] for p, pad in zip(PROMPTS, pads, strict=True)]
    mask = [[*pad, *[1] * len(p)] if left else [*[1] * len(p), *pad] for p, pad in zip(PROMPTS, pads, strict=True)]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


@pytest.mark.parametrize("left", [True, False])
def test_prompts_are_found_on_either_side(left: bool) -> None:
    assert prompts_of(batch(left)) == PROMPTS


def test_each_continuation_equals_the_model_alone_without_cache() -> None:
    """The very tokens that full forward passes and the same uniform draws give."""
    model = small.llama()
    settings = Sampling(max_tokens=6, temperature=0.7, top_p=0.9, top_k=40)
    torch.manual_seed(3)
    found = sample(model, PROMPTS, 3, settings, {1}, 0)
    torch.manual_seed(3)
    for at, one in enumerate(found):
        own = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        draws = torch.rand(6, generator=own, dtype=torch.float64)
        ids: list[int] = []
        while len(ids) < 6 and ids[-1:] != [1]:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([PROMPTS[at // 3] + ids])).logits[:, -1]
            ids.append(int(pick(logits, draws[len(ids)].reshape(1), settings)))
        assert one.ids == ids
        assert one.truncated == (ids[-1] != 1)


def test_cut_into_micro_batches_the_same_is_drawn() -> None:
    model = small.llama()
    torch.manual_seed(1)
    together = sample(model, PROMPTS, 2, Sampling(max_tokens=5), {1}, 0)
    torch.manual_seed(1)
    alone = [one for prompt in PROMPTS for one in sample(model, [prompt], 2, Sampling(max_tokens=5), {1}, 0)]
    assert together == alone
    assert together[0] != together[1], "two continuations of a prompt must differ"


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0]).repeat(40_000, 1)
    at = torch.rand(40_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for settings in (Sampling(), Sampling(temperature=0.5), Sampling(top_k=2), Sampling(top_p=0.8)):
        counts = Counter(pick(logits, at, settings).tolist())
        expected = (logits[0] / settings.temperature).softmax(0)
        if settings.top_k or settings.top_p < 1:  # here both keep the two likeliest
            expected[2:] = 0
            expected /= expected.sum()
        for token, share in enumerate(expected.tolist()):
            assert counts[token] / 40_000 == pytest.approx(share, abs=0.01)


def test_filters_equal_transformers() -> None:
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    torch.manual_seed(0)
    logits = torch.randn(50, 97)
    kept = logits.clone()
    for warper in (TemperatureLogitsWarper(0.6), TopKLogitsWarper(20), TopPLogitsWarper(0.7)):
        kept = warper(None, kept)
    steps = torch.linspace(0, 1, 4001, dtype=torch.float64)[:-1]
    settings = Sampling(temperature=0.6, top_k=20, top_p=0.7)
    for row, mine in zip(kept, logits, strict=True):
        drawn = pick(mine.repeat(4000, 1), steps, settings)
        shares = torch.bincount(drawn, minlength=97) / 4000
        assert set(drawn.tolist()) <= set(torch.isfinite(row).nonzero().flatten().tolist())
        assert (shares - row.softmax(-1)).abs().max() < 2e-3


@pytest.mark.parametrize("at", [0.0, 1 - 1e-16])
def test_a_draw_at_the_edge_falls_on_a_token_that_has_probability(at: float) -> None:
    logits = torch.tensor([[-torch.inf, 1.0, 1.0, -torch.inf]])
    assert int(pick(logits, torch.tensor([at], dtype=torch.float64), Sampling())) == (1 if at == 0 else 2)


def test_temperature_zero_is_greedy_and_draws_nothing() -> None:
    from tuneforge.evaluation.decoding import greedy

    model = small.llama()
    state = torch.get_rng_state()
    found = sample(model, PROMPTS, 1, Sampling(max_tokens=5, temperature=0), {1}, 0)
    assert torch.equal(state, torch.get_rng_state())
    expected = greedy(model.eval(), PROMPTS, [5] * 4, {1}, 0)
    assert [one.ids[: len(ids)] for one, (ids, *_) in zip(found, expected, strict=True)] == [e.ids for e in expected]


def test_mode_and_gradients_are_left_alone_and_dropout_is_off() -> None:
    model = small.llama(dropout=0.5).train()
    torch.manual_seed(0)
    first = sample(model, PROMPTS, 2, Sampling(max_tokens=4), {1}, 0)
    assert model.training
    assert all(m.training for m in model.modules())
    torch.manual_seed(0)
    assert sample(model.eval(), PROMPTS, 2, Sampling(max_tokens=4), {1}, 0) == first


def test_step_gives_padded_sequences_with_labels_and_truncation(tmp_path: Any) -> None:
    model = small.llama()
    with torch.no_grad():  # every second token is the stop token
        model.lm_head.weight[1] += 0.5
    torch.manual_seed(5)
    found = step(model, tmp_path).generate(model, batch(left=False), 4, Sampling(max_tokens=3))
    assert len(found["input_ids"]) == 16
    for at, (ids, mask, labels, truncated) in enumerate(
        zip(found["input_ids"], found["attention_mask"], found["labels"], found["truncated"], strict=True)
    ):
        prompt = PROMPTS[at // 4]
        real = ids[mask.bool()].tolist()
        answer = real[len(prompt) :]
        assert real[: len(prompt)] == prompt
        assert 1 <= len(answer) <= 3
        assert labels[labels != -100].tolist() == answer
        assert labels[len(prompt) : len(real)].tolist() == answer
        assert bool(truncated) == (answer[-1] != 1)
        assert 1 not in answer[:-1]
    assert 0 < found["truncated"].sum() < 16, "the test sees one kind only"


@pytest.mark.parametrize("adapter", [None, Lora(r=2, targets=["q_proj"])], ids=["full", "lora"])
def test_reference_is_the_model_as_found(tmp_path: Any, adapter: Any) -> None:
    model = small.llama()
    prepared: Any = step(model, tmp_path, adapter)
    if adapter is not None:
        model = prepared.model = adapter.apply(model, prepared.context)
    prepared.prove_parts()
    torch.manual_seed(0)
    rolled = prepared.generate(model, batch(left=False), 2, Sampling(max_tokens=4))
    before = prepared.token_log_probs(model, rolled, temperature=0.8)[0].detach()
    prepared.keep_reference()
    assert bool(prepared.context.notes) == (adapter is None), "a copy costs memory, which is said"
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05
    assert torch.allclose(prepared.reference_token_log_probs(rolled, temperature=0.8), before, atol=1e-6)
    assert (prepared.token_log_probs(model, rolled, temperature=0.8)[0] - before).abs().max() > 1e-3


@pytest.mark.parametrize("apart", [True, False])
def test_temperature_divides_the_logits(tmp_path: Any, apart: bool) -> None:
    model = small.llama()
    prepared = step(model, tmp_path)
    if apart:
        prepared.prove_parts()
    ids = torch.tensor([[5, 6, 7, 8]])
    scored = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    found, _ = prepared.token_log_probs(model, scored, temperature=0.5)
    expected = (model(input_ids=ids).logits[:, :-1] / 0.5).log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    assert torch.allclose(found, expected, atol=1e-5)
