"""LoRA over four bits: truly quantised, truly trained, and merged into what it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.adapter.fitting import logits
from tests.unit.training import small
from tuneforge.adapter.lora import Init
from tuneforge.adapter.qlora import Bits, Qlora
from tuneforge.components import Strategy
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.model.tiny import Tiny
from tuneforge.training.fit import fit

pytest.importorskip("bitsandbytes")


def tiny(adapter: Qlora, folder: Path) -> tuple[Any, RunContext]:
    run = small.settings(adapter=adapter, trainer__max_steps=6, batch__size=4)
    run.model = Tiny()
    context = small.context(run, folder)
    return run.model.load("causal_lm", context), context


FP4 = Qlora(r=4, bits=Bits.fp4, double_quantization=False)


@pytest.mark.parametrize("adapter", [Qlora(r=4), FP4], ids=["nf4", "fp4"])
def test_trains_saves_loads_and_merges(adapter: Qlora, tmp_path: Path) -> None:
    loaded, context = tiny(adapter, tmp_path)
    layer = loaded.model.model.layers[0].mlp.up_proj
    assert type(layer).__name__ == "Linear4bit"
    assert layer.weight.dtype == torch.uint8
    assert layer.weight.quant_state.quant_type == adapter.bits
    base = logits(loaded.model)
    again = logits(loaded.model)
    assert torch.equal(base, again), "evaluation changed the weights"
    fitted = fit(context.run, loaded, small.encoded(small.rows(24)), None, False, context)
    losses = [line["loss"] for line in fitted.history]
    assert losses[-1] < losses[0]
    assert all("lora_" in n for n, p in fitted.model.named_parameters() if p.requires_grad)
    tuned = logits(fitted.model)
    off = adapter.off(fitted.model)
    assert off is not None
    with off:
        assert (logits(fitted.model) - base).abs().max() < 1e-5
    adapter.save(fitted.model, tmp_path / "model")
    from peft import PeftModel

    with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):
        stock = PeftModel.from_pretrained(tiny(adapter, tmp_path)[0].model, tmp_path / "model")
    assert (logits(stock) - tuned).abs().max() < 1e-5
    merged = adapter.merge(fitted.model)
    assert {p.dtype for p in merged.parameters()} == {torch.float32}
    assert (logits(merged) - tuned).abs().max() < 5e-5
    merged.save_pretrained(tmp_path / "merged")
    from transformers import AutoModelForCausalLM

    assert (logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged")) - tuned).abs().max() < 5e-5


@pytest.mark.parametrize("head", ["masked_lm", "sequence_classification"])
def test_heads_stay_whole(head: str, model_folder: Path, tmp_path: Path) -> None:
    """Of an encoder too, where transformers would quantise a new classifier, which is to train."""
    from tests.unit.adapter.test_adapters import bert
    from tuneforge.model.hf import DType, Hf

    for file in ("config.json", "model.safetensors", "generation_config.json"):
        (model_folder / file).unlink()
    model = bert("masked_lm")
    model.resize_token_embeddings(600)
    model.save_pretrained(model_folder)
    run = small.settings(adapter=Qlora(r=4))
    run.model = Hf(path=str(model_folder), dtype=DType.float32)
    run.strategy = type("Asks", (Strategy,), {"head": head, "name": "asks"})()
    context = small.context(run, tmp_path)
    context.labels = ("a", "b")
    made = run.adapter.apply(run.model.load(head, context).model, context)
    kinds = {n: type(m).__name__ for n, m in made.named_modules()}
    assert "Linear4bit" in kinds.values()
    assert not [n for n, kind in kinds.items() if kind == "Linear4bit" and ("cls" in n or "classifier" in n)]
    logits(made)
    assert any("classifier" in n and p.requires_grad for n, p in made.named_parameters()) == (head != "masked_lm")


def test_what_cannot_be_quantised_is_refused(tmp_path: Path) -> None:
    run = small.settings(adapter=Qlora(init=Init.pissa))
    run.model = Tiny(fresh=True)
    reasons = list(run.adapter.check(run))
    assert [r.split(" ")[0] for r in reasons] == ["adapter.init=pissa", "adapter=qlora:"]
    whole = small.settings(adapter=Qlora())
    whole.model = Tiny()
    context = small.context(whole, tmp_path)
    with pytest.raises(ConfigError, match="did not load the model in four bits"):
        whole.adapter.apply(small.llama(), context)


def test_other_adapters_refuse_a_quantised_model(tmp_path: Path) -> None:
    from tuneforge.adapter.full import Full

    loaded, context = tiny(Qlora(), tmp_path)
    with pytest.raises(ConfigError, match="adapter=full trains the model's own weights"):
        Full().apply(loaded.model, context)
