"""References: computed once, shared by runs through a cache, never of another model than the one found."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training import small
from tuneforge.adapter.bottleneck import Activation, Bottleneck
from tuneforge.adapter.full import Full
from tuneforge.adapter.lora import Init, Lora
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError, Preempted, TuneForgeError
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.kto import Kto
from tuneforge.training import reference, reference_cache
from tuneforge.training.bottleneck import disabled
from tuneforge.training.fit import fit


def train(folder: Path, cache: Path, adapter: Any = None, model: Any = None, **more: Any) -> tuple[Any, list[str]]:
    values = {"batch__size": 4, "optimizer__learning_rate": 1e-3, "trainer__max_epochs": 2} | more
    run = small.settings(Dpo(), adapter or Full(), **values)
    context = RunContext(run, folder, cache=cache)
    data, held = small.encoded(small.pairs(12)), small.encoded(small.pairs(4, seed=1))
    fitted = fit(run, small.loaded(model or small.llama()), data, held, False, context)
    notes = [n["text"].removeprefix("training: ").removeprefix("validation: ") for n in context.notes]
    return fitted, [text for text in notes if text.startswith(("references of", str(cache)))]


def test_runs_on_one_model_share_them_whatever_trains(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first, said = train(tmp_path / "a", cache)
    assert [s.split(": ")[1].split(" ")[0] for s in said] == ["12", "4"]
    assert all(", 0 from the cache" in s for s in said)
    again, said = train(tmp_path / "b", cache)
    assert [s.split(", ")[1] for s in said] == ["12 from the cache", "4 from the cache"]
    assert small.digest(again.model) == small.digest(first.model)
    _, said = train(tmp_path / "c", cache, Lora(r=4))
    assert [s.split(", ")[1] for s in said] == ["12 from the cache", "4 from the cache"]
    _, said = train(tmp_path / "d", cache, model=small.llama(seed=1))
    assert all(", 0 from the cache" in s for s in said)


def test_an_adapter_turned_off_gives_the_same_as_the_model_before_it(tmp_path: Path) -> None:
    train(tmp_path / "a", tmp_path / "cache", Lora(r=4, dropout=0.2), trainer__max_epochs=1)
    train(tmp_path / "b", tmp_path / "other", trainer__max_epochs=1)
    off, whole = (reference_values(tmp_path / name) for name in ("cache", "other"))
    assert off.keys() == whole.keys()
    assert max(abs(off[k] - whole[k]) for k in off) < 1e-4


def test_a_strategy_that_does_not_declare_it_asks_the_adapter_at_each_step(tmp_path: Path) -> None:
    class Undeclared(Dpo):
        reference = False

    found = []
    for strategy in (Undeclared(), Dpo()):
        folder = tmp_path / str(strategy.reference)
        run = small.settings(strategy, Lora(r=4), batch__size=4, optimizer__learning_rate=1e-3, trainer__max_epochs=2)
        context = RunContext(run, folder, cache=folder / "cache")
        fitted = fit(run, small.loaded(small.llama()), small.encoded(small.pairs(12)), None, False, context)
        found.append([line["loss"] for line in fitted.history])
    assert found[0] == pytest.approx(found[1], abs=1e-6)


@pytest.mark.parametrize("harm", ["cut", "other", "empty", "pickle"])
def test_a_damaged_cache_is_said_and_made_again(harm: str, tmp_path: Path) -> None:
    import numpy as np

    cache = tmp_path / "cache"
    first, _ = train(tmp_path / "a", cache)
    for file in cache.rglob("*.npz"):
        if harm == "cut":
            file.write_bytes(file.read_bytes()[:-40])
        elif harm == "other":
            np.savez(file, keys=np.zeros((2, 3)), values=np.zeros(2))
        elif harm == "pickle":
            np.savez(file, keys=np.array([object()]), values=np.zeros(1))
        else:
            file.write_bytes(b"")
    again, said = train(tmp_path / "b", cache)
    assert sum("is damaged" in s and "computed again" in s for s in said) == 2
    assert sum(", 0 from the cache" in s for s in said) == 2
    assert small.digest(again.model) == small.digest(first.model)


def test_stopped_while_they_are_computed_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, _ = train(tmp_path / "straight", tmp_path / "other")
    compute = reference.precompute

    def stopping(*values: Any) -> Any:
        for at, found in enumerate(compute(*values)):
            if at == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            yield found

    monkeypatch.setattr(reference, "precompute", stopping)
    with pytest.raises(Preempted, match="while references were computed"):
        train(tmp_path / "a", tmp_path / "cache")
    monkeypatch.setattr(reference, "precompute", compute)
    resumed, said = train(tmp_path / "a", tmp_path / "cache", resume=str(tmp_path / "a"))
    assert said[0].split(", ")[1] == "5 from the cache"
    losses = [[line["loss"] for line in f.history] for f in (straight, resumed)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


@pytest.mark.parametrize("init", [Init.pissa, Init.olora])
def test_pissa_and_olora_start_as_the_model_found(init: Any, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    train(tmp_path / "a", cache)
    plain = dict(reference_values(cache))
    fitted, said = train(tmp_path / "b", tmp_path / "own", Lora(r=4, init=init))
    assert len(said) == 2
    mine = dict(reference_values(tmp_path / "own"))
    assert mine.keys() == plain.keys()
    assert max(abs(mine[k] - plain[k]) for k in mine) < 1e-4 * max(map(abs, plain.values()))
    assert abs(fitted.history[0]["rewards/margins"]) < 1e-4


def adapted(folder: Path, adapter: Any) -> Any:
    """A model with adapters of weights that do not depend on their settings."""
    model = adapter.apply(small.llama(), small.context(small.settings(adapter=adapter), folder))
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    return model.requires_grad_(False)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Lora(r=4, alpha=8), Lora(r=4, alpha=16)),
        (Lora(r=4, alpha=8), Lora(r=4, alpha=8, rslora=True)),
        (Lora(r=4, alpha_pattern={"q_proj": 2}), Lora(r=4, alpha_pattern={"q_proj": 4})),
        (Bottleneck(size=4, activation=Activation.gelu), Bottleneck(size=4, activation=Activation.silu)),
    ],
    ids=["alpha", "rslora", "alpha_pattern", "activation"],
)
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapters_that_are_brought_are_told_apart_by_their_settings(one: Any, other: Any, tmp_path: Path) -> None:
    models = [adapted(tmp_path, adapter) for adapter in (one, one, other)]
    assert len({small.digest(model) for model in models}) == 1, "weights differ, so the settings were not tested"
    ids = torch.tensor([[3, 5, 8, 13]])
    with torch.no_grad():
        logits = [model.eval()(input_ids=ids).logits for model in models]
    assert (logits[0] - logits[2]).abs().max() > 1e-4
    first, again, different = map(reference_cache.fingerprint, models)
    assert first == again
    assert first != different


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_that_is_off_makes_another_model(tmp_path: Path) -> None:
    adapter = Bottleneck(size=4)
    model = adapted(tmp_path, adapter)
    before = reference_cache.fingerprint(model)
    with disabled(model):
        assert reference_cache.fingerprint(model) != before
    assert reference_cache.fingerprint(model) == before


def test_the_scales_of_four_bit_weights_count(tmp_path: Path) -> None:
    """Weights twice as large have the same four bits and other scales."""
    quantised = pytest.importorskip("bitsandbytes").nn

    def four_bits(factor: float) -> torch.nn.Module:
        layer = torch.nn.Linear(64, 64, bias=False)
        torch.manual_seed(1)
        with torch.no_grad():
            layer.weight.normal_().mul_(factor)
        found = quantised.Linear4bit(64, 64, bias=False, quant_type="nf4")
        found.load_state_dict(layer.state_dict())
        return torch.nn.Sequential(found.to("cpu"))

    one, other = four_bits(1.0), four_bits(2.0)
    if one[0].weight.quant_state is None:
        pytest.skip("this bitsandbytes quantises on a GPU only")
    assert torch.equal(one[0].weight.data, other[0].weight.data)
    assert reference_cache.fingerprint(one) != reference_cache.fingerprint(other)


def reference_values(cache: Path) -> dict[bytes, float]:
    (folder,) = (cache / "references").iterdir()
    return reference_cache.ReferenceCache(folder, pytest.fail).values


class Shifted(Full):
    """An adapter that starts elsewhere."""

    def apply(self, model: Any, context: Any) -> Any:
        with torch.no_grad():
            model.get_input_embeddings().weight[3] += 1
        return super().apply(model, context)


def test_an_adapter_that_does_not_start_as_the_model_found_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither turned off nor at its start is it the model that this run found"):
        train(tmp_path / "a", tmp_path / "cache", Shifted())


def test_a_reference_that_is_no_number_names_the_row(tmp_path: Path) -> None:
    model = small.llama(tie=False)
    with torch.no_grad():
        model.lm_head.weight[40] = float("nan")
    with pytest.raises((TuneForgeError, ConfigError), match=r"the reference log-probability of train.jsonl:\d+ is nan"):
        train(tmp_path / "a", tmp_path / "cache", model=model)


def test_kto_s_mean_is_one_over_the_whole_step(tmp_path: Path) -> None:
    rows = []
    for at, row in enumerate(small.rows(24)):
        stranger = small.rows(24, seed=9)[at]
        kl = {f"kl.{name}": tokens for name, tokens in stranger.parts.items()}
        rows.append(row._replace(parts={**row.parts, **kl}, extras={"desirable": float(at % 3 > 0)}))
    found = []
    for size in (8, 1):
        run = small.settings(Kto(beta=0.5), batch__size=size, batch__global_size=8, trainer__max_epochs=2)
        context = RunContext(run, tmp_path / f"{size}", cache=tmp_path / "cache")
        found.append(fit(run, small.loaded(small.llama()), small.encoded(rows), None, False, context).history)
    for name in ("loss", "kl", "rewards/chosen", "rewards/rejected"):
        one, other = ([line.get(name, 0.0) for line in history] for history in found)
        assert one == pytest.approx(other, abs=2e-5), name
    assert max(line["kl"] for line in found[0]) > 0.01


def test_only_rows_that_the_run_comes_to_are_computed(tmp_path: Path) -> None:
    _, said = train(tmp_path / "a", tmp_path / "cache", trainer__max_steps=2)
    assert said[0].startswith("references of 8 rows")
    _, said = train(tmp_path / "a", tmp_path / "cache", trainer__max_steps=6, resume=str(tmp_path / "a"))
    assert said[0].startswith("references of 12 rows before the first step: 4 computed")
