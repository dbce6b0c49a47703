"""Adapters: what trains, what is saved, and that it loads and merges to the same logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tuneforge.adapter.full import Full
from tuneforge.adapter.lora import Init, Lora
from tuneforge.errors import ConfigError

IDS = torch.tensor([[3, 5, 8, 13, 21, 34, 55]])


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def trained(model: Any, rate: float = 1e-2) -> Any:
    """A few steps on one batch."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=rate)
    for _ in range(3):
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def base(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def test_full_trains_everything_and_saves_safetensors(
    model_folder: Path, tmp_path: Path, make_run: Callable[..., Any]
) -> None:
    _, context = make_run()
    adapter = Full()
    model = adapter.apply(base(model_folder).requires_grad_(False), context)
    assert all(p.requires_grad for p in model.parameters())
    before = logits(model)
    model = trained(model)
    adapter.save(model, tmp_path / "saved")
    assert {p.suffix for p in (tmp_path / "saved").iterdir()} == {".json", ".safetensors"}
    again = adapter.load(base(model_folder), tmp_path / "saved", trainable=False)
    assert torch.equal(logits(again), logits(model))
    assert not torch.equal(logits(model), before)
    assert not any(p.requires_grad for p in again.parameters())
    assert adapter.merge(model) is model
    assert adapter.off(model) is None


LORAS = [
    Lora(r=4), Lora(r=4, rslora=True), Lora(r=4, dora=True), Lora(r=4, init=Init.gaussian), Lora(r=4, init=Init.pissa),
    Lora(r=4, init=Init.olora), Lora(r=4, targets=["q_proj", "down_proj"]), Lora(r=4, modules_to_save=["lm_head"]),
]  # fmt: skip


@pytest.mark.parametrize("adapter", LORAS, ids=lambda a: f"{a.init}-{a.rslora}-{a.dora}-{'-'.join(a.targets)}")
def test_lora_saves_loads_and_merges(
    model_folder: Path, tmp_path: Path, make_run: Callable[..., Any], adapter: Lora
) -> None:
    run, context = make_run()
    run.seed = 3
    untouched = base(model_folder)
    model = trained(adapter.apply(base(model_folder), context))
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert names
    assert all("lora_" in n or "modules_to_save" in n for n in names)
    off = adapter.off(model)
    if adapter.init in (Init.pissa, Init.olora):
        assert off is None
    else:
        assert off is not None
        with off:
            torch.testing.assert_close(logits(model), logits(untouched), atol=1e-6, rtol=0)
    adapter.save(model, tmp_path / "saved")
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {p.name for p in (tmp_path / "saved").iterdir()}
    again = adapter.load(base(model_folder), tmp_path / "saved", trainable=True)
    assert {n for n, p in again.named_parameters() if p.requires_grad} == names
    torch.testing.assert_close(logits(again), logits(model), atol=1e-6, rtol=0)
    merged = adapter.merge(model)
    torch.testing.assert_close(logits(merged), logits(again), atol=2e-6, rtol=0)
    assert "peft" not in type(merged).__module__


def test_lora_starts_equal_for_equal_seeds(model_folder: Path, make_run: Callable[..., Any]) -> None:
    _, context = make_run()
    one, two = (dict(Lora(r=4).apply(base(model_folder), context).named_parameters()) for _ in range(2))
    assert all(torch.equal(one[n], two[n]) for n in one)


def test_lora_of_everything_leaves_the_head_out(model_folder: Path, make_run: Callable[..., Any]) -> None:
    _, context = make_run()
    names = [n for n, p in Lora(r=4).apply(base(model_folder), context).named_parameters() if p.requires_grad]
    kinds = {n.split(".lora_")[0].rsplit(".", 1)[-1] for n in names}
    assert kinds == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (
            Lora(targets=["q_porj"]),
            "adapter.targets: the model has no linear layer 'q_porj'; it has down_proj, gate_proj, k_proj, lm_head,"
            " o_proj, q_proj, up_proj, v_proj. Did you mean 'q_proj'?",
        ),
        (Lora(modules_to_save=["lm_haed"]), "adapter.modules_to_save: the model has no module 'lm_haed'"),
        (Lora(targets=["input_layernorm"]), "the model has no linear layer 'input_layernorm'"),
    ],
)
def test_a_misspelt_layer_is_named(llama: Any, make_run: Callable[..., Any], adapter: Lora, message: str) -> None:
    _, context = make_run()
    with pytest.raises(ConfigError) as error:
        adapter.apply(llama, context)
    assert message in str(error.value)


def test_values_out_of_range() -> None:
    assert list(Lora(r=0, alpha=0, dropout=1.0).check(None)) == [  # type: ignore[arg-type]
        "adapter.r=0 must be at least 1",
        "adapter.alpha=0 must be above 0",
        "adapter.dropout=1.0 must be in [0, 1)",
    ]
