"""Virtual tokens: logits stay at the tokens, positions and cache count on, packing and long rows are kept off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from tests.unit.adapter.fitting import applied
from tests.unit.training import small
from tuneforge.adapter.prefix import Prefix, PrefixInit
from tuneforge.adapter.prompt import Prompt
from tuneforge.adapter.ptuning import Ptuning
from tuneforge.errors import ConfigError
from tuneforge.evaluation.decoding import greedy
from tuneforge.training.batches.collate import collate
from tuneforge.training.loss import likelihood
from tuneforge.training.text.encode import max_length

KINDS = [Prefix(tokens=5, init=PrefixInit.random), Prompt(tokens=5), Ptuning(tokens=5, hidden=16)]
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),  # in PEFT's own generate
    pytest.mark.parametrize("adapter", KINDS, ids=lambda a: a.name),
]


def model_of(adapter: Any, folder: Path, make: Any = small.llama) -> Any:
    """With virtual tokens large enough to matter."""
    model = applied(adapter, folder, make).eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p))
    return model


@pytest.mark.parametrize("make", [small.llama, small.gpt2], ids=["llama", "gpt2"])
def test_log_probs_are_those_of_pefts_own_forward(adapter: Any, make: Any, tmp_path: Path) -> None:
    model = model_of(adapter, tmp_path, make)
    adapter.save(model, tmp_path / "model")
    stock = PeftModel.from_pretrained(make(), tmp_path / "model").eval()
    batch = collate(small.rows(6), 0)
    assert likelihood.find_parts(model) is None
    with torch.no_grad():
        sums, counts = likelihood.log_probs(model, None, batch)
        loss = stock(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]).loss
        off = adapter.off(model)
        with off:
            base = likelihood.log_probs(model, None, batch)[0]
    assert float(-sums.sum() / counts.sum()) == pytest.approx(float(loss), abs=1e-6)
    assert (base - sums).abs().max() > 0.1


def untied() -> Any:
    """Greedy answers of a random model with tied embeddings only repeat its last token."""
    return small.llama(tie=False)


@pytest.mark.parametrize("make", [untied, small.gpt2], ids=["llama", "gpt2"])
def test_greedy_in_batches_equals_pefts_generate_row_by_row(adapter: Any, make: Any, tmp_path: Path) -> None:
    model = model_of(adapter, tmp_path, make)
    adapter.save(model, tmp_path / "model")
    stock = PeftModel.from_pretrained(make(), tmp_path / "model").eval()
    prompts = [[3, 4, 5], [7, 8, 9, 10, 11, 12], [2], [5, 4, 3, 2, 6]]
    ours = greedy(model, prompts, [8] * 4, set(), 0)
    for prompt, (answer, *_) in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            whole = stock.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False,
                eos_token_id=None, pad_token_id=0,
            )  # fmt: skip
        assert whole[0, len(prompt) :].tolist() == answer
    plain = greedy(make().eval(), prompts, [8] * 4, set(), 0)
    assert [a.ids for a in plain] != [a.ids for a in ours]


def test_padding_on_either_side_gives_equal_logits(adapter: Any, tmp_path: Path) -> None:
    model = model_of(adapter, tmp_path)
    row = [3, 5, 8, 13]
    right = torch.tensor([[*row, 0, 0]]), torch.tensor([[1, 1, 1, 1, 0, 0]])
    left = torch.tensor([[0, 0, *row]]), torch.tensor([[0, 0, 1, 1, 1, 1]])
    with torch.no_grad():
        a = model(input_ids=right[0], attention_mask=right[1], position_ids=torch.tensor([[0, 1, 2, 3, 4, 5]])).logits
        b = model(input_ids=left[0], attention_mask=left[1], position_ids=torch.tensor([[0, 0, 0, 1, 2, 3]])).logits
    assert (a[:, :4] - b[:, 2:]).abs().max() < 1e-5


def test_packing_is_refused_and_turned_off(adapter: Any) -> None:
    from tuneforge.rules import problems
    from tuneforge.training.batches.batching import _allowed
    from tuneforge.training.proof import Proof

    run = small.settings(adapter=adapter, batch__packing="on")
    assert f"batch.packing=on: adapter={adapter.name} works on one document per sequence; use auto or off" in [
        p for p in problems(run) if "packing" in p
    ]
    run.batch.packing = "auto"  # type: ignore[assignment]
    packed, why = _allowed(run, small.loaded(small.llama()), Proof())
    assert (packed, why) == (False, f"adapter={adapter.name} works on one document per sequence")


def test_the_models_context_is_shorter_by_the_virtual_tokens(adapter: Any, tmp_path: Path) -> None:
    from tuneforge.evaluation.lm import context_length

    config = small.llama().config.to_dict()
    assert max_length(small.settings(adapter=adapter), config) == 256 - 5
    with pytest.raises(ConfigError, match=f"256 tokens, less 5 that adapter={adapter.name} takes"):
        max_length(small.settings(adapter=adapter, batch__max_length=252), config)
    assert context_length(applied(adapter, tmp_path)) == 251


def test_virtual_tokens_made_by_a_network_cannot_train_on(adapter: Any, tmp_path: Path) -> None:
    adapter.save(applied(adapter, tmp_path), tmp_path / "model")
    if adapter.name != "ptuning":
        again = adapter.load(small.llama(), tmp_path / "model", True)
        training = [n for n, p in again.named_parameters() if p.requires_grad]
        assert training == ["prompt_encoder.default.embedding.weight"]
        again.train()(input_ids=torch.tensor([[3, 4, 5]]), labels=torch.tensor([[3, 4, 5]])).loss.backward()
        assert again.prompt_encoder["default"].embedding.weight.grad.abs().max() > 0
        return
    with pytest.raises(ConfigError, match="not the network that makes them"):
        adapter.load(small.llama(), tmp_path / "model", True)
