"""Averages, noise on embeddings, early stopping and the best weights, and a loss that is no number."""

from __future__ import annotations

import json
import math
import signal
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.unit.training import small
from tuneforge.adapter.lora import Lora
from tuneforge.errors import ConfigError, Preempted, TuneForgeError
from tuneforge.rows import Loss
from tuneforge.rules import problems
from tuneforge.sections import Average as Kind
from tuneforge.sections import Parallel
from tuneforge.strategy.sft import Sft
from tuneforge.training.averaging import Average
from tuneforge.training.batches.collate import collate
from tuneforge.training.checkpoint import Checkpoints
from tuneforge.training.fit import fit
from tuneforge.training.loss import likelihood

STEPS, SIZE = 12, 4


def train(folder: Any, **more: Any) -> tuple[Any, Any]:
    """12 steps of 4 rows in their order; `more`: model, adapter, strategy, validation, callbacks, and settings."""
    model = more.pop("model", None) or small.llama()
    parts = {name: more.pop(name, None) for name in ("strategy", "adapter", "validation")}
    callbacks, packing = more.pop("callbacks", ()), more.pop("packing", False)
    values = {"batch__size": SIZE, "trainer__max_epochs": 1, "scheduler__warmup": 0} | more
    run = small.settings(parts["strategy"], parts["adapter"], **values)
    context = small.context(run, folder)
    data, held_out = small.encoded(small.rows(STEPS * SIZE)), parts["validation"]
    order = lambda epoch: range(STEPS * SIZE)  # noqa: E731
    return fit(run, small.loaded(model), data, held_out, packing, context, callbacks, order=order), context


class Watch(pl.Callback):
    """The weights that train, after each step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        self.seen.append({n: t.detach().clone() for n, t in module.model.state_dict().items()})


class Kill(pl.Callback):
    def __init__(self, step: int) -> None:
        self.at = step

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        if module.tally.step == self.at:
            signal.raise_signal(signal.SIGTERM)


def held_out(n: int = 6) -> Any:
    return small.encoded(small.rows(n, seed=1))


def same_after_a_kill(folder: Any, **more: Any) -> Any:
    make = more.pop("model", lambda: small.llama(dropout=0.1))
    straight, _ = train(folder / "straight", model=make(), **more)
    with pytest.raises(Preempted):
        train(folder / "run", model=make(), callbacks=[Kill(7)], **more)
    resumed, context = train(folder / "run", model=make(), resume="it", **more)
    assert resumed.resumed_from == 7
    assert small.digest(resumed.model) == small.digest(straight.model)
    keep = lambda f: [{k: v for k, v in h.items() if k != "speed"} for h in f.history]  # noqa: E731
    assert keep(resumed) == keep(straight)
    again, _ = train(folder / "run", model=make(), resume="it", **more)
    assert small.digest(again.model) == small.digest(straight.model), "a finished run that is resumed"
    return straight, context


# ---------------------------------------------------------------- averages


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_averages_equal_torchs_over_parameters_and_buffers(kind):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    run = small.settings(
        regularization__average=Kind(kind), regularization__ema_decay=0.7, regularization__swa_start=0.5
    )
    ours = Average(run, STEPS)
    multi = get_ema_multi_avg_fn(0.7) if kind == "ema" else None
    theirs = AveragedModel(model, multi_avg_fn=multi, use_buffers=True)
    for step in range(1, STEPS + 1):
        model.train()(torch.randn(5, 3))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
        ours.update(model.state_dict(), step)
        if kind == "ema" or step >= STEPS * 0.5:
            theirs.update_parameters(model)
    assert ours.count == (12 if kind == "ema" else 7)
    found = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    ours.put(found)
    for name, tensor in theirs.module.state_dict().items():
        if "num_batches" in name:  # torch averages the count as well
            assert found[name] == STEPS
            continue
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_the_average_is_what_is_validated_saved_and_evaluated(kind, tmp_path):
    watch, data = Watch(), held_out()
    fitted, _ = train(
        tmp_path, regularization__average=Kind(kind), regularization__ema_decay=0.8, callbacks=[watch],
        validation=data, trainer__val_check_interval=6, early_stopping__best=False,
    )  # fmt: skip
    mean = watch.seen[0]
    for step, weights in enumerate(watch.seen[1:], 2):
        share = 0.2 if kind == "ema" else 1 / (step - 8) if step > 9 else 1.0
        mean = {n: mean[n] + (weights[n] - mean[n]) * share for n in mean}
    for name, tensor in fitted.model.state_dict().items():
        torch.testing.assert_close(tensor, mean[name], atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        total, items = likelihood.summed(fitted.model, None, collate(small.rows(6, seed=1), 0))
    assert fitted.history[-1]["validation_loss"] == pytest.approx(-float(total) / int(items), rel=1e-5)
    plain, _ = train(tmp_path / "plain")
    assert plain.history[-1]["loss"] == fitted.history[-1]["loss"], "training itself knows nothing of the average"


@pytest.mark.parametrize("kind", ["ema", "swa"])
@pytest.mark.parametrize("adapter", [None, Lora(r=4, dropout=0.1)], ids=["full", "lora"])
def test_averages_resume_bit_for_bit(kind, adapter, tmp_path):
    same_after_a_kill(
        tmp_path, adapter=adapter, regularization__average=Kind(kind), regularization__swa_start=4,
        validation=held_out(), trainer__val_check_interval=3,
    )  # fmt: skip


def test_an_average_that_would_begin_after_the_end_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="swa_start=500: the run has 12 steps; nothing would be averaged"):
        train(tmp_path, regularization__average=Kind.swa, regularization__swa_start=500)


# ---------------------------------------------------------------- NEFTune


@pytest.mark.parametrize("adapter", [None, Lora(r=4)], ids=["full", "lora"])
def test_neftune_equals_transformers_given_the_generator(adapter, tmp_path):
    from transformers.integrations.neftune import neftune_post_forward_hook

    fitted, _ = train(
        tmp_path, adapter=adapter, regularization__neftune_alpha=5.0, trainer__gradient_clip_val=None,
        optimizer__weight_decay=0.0,
    )  # fmt: skip
    run = small.settings(adapter=adapter)
    model = small.llama()
    torch.manual_seed(run.seed)
    model = run.adapter.apply(model, small.context(run, tmp_path)).train()
    embeddings = (model.get_base_model() if adapter else model).get_input_embeddings()
    embeddings.neftune_noise_alpha = 5.0
    embeddings.register_forward_hook(neftune_post_forward_hook)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0, fused=True)
    rows, losses = small.rows(STEPS * SIZE), []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / STEPS)
        batch = collate(rows[step * SIZE : (step + 1) * SIZE], 0)
        total, items = likelihood.summed(model, likelihood.find_parts(model), batch)
        (-total / items).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(-float(total.detach()) / int(items))
    assert [h["loss"] for h in fitted.history] == pytest.approx(losses, abs=1e-5)
    plain, _ = train(tmp_path / "plain", adapter=adapter)
    assert abs(plain.history[-1]["loss"] - losses[-1]) > 1e-4, "the noise made no difference"
    inner = (fitted.model.get_base_model() if adapter else fitted.model).get_input_embeddings()
    assert not inner._forward_hooks
    assert not hasattr(inner, "neftune_noise_alpha")


@pytest.mark.parametrize("packing", [False, True], ids=["rows", "packs"])
def test_neftune_resumes_bit_for_bit(packing, tmp_path):
    more = {"trainer__max_epochs": 8, "batch__size": 1} if packing else {}
    straight, _ = same_after_a_kill(tmp_path, regularization__neftune_alpha=5.0, packing=packing, **more)
    assert straight.steps > 7


# ---------------------------------------------------------------- early stopping


@dataclass(kw_only=True)
class Staged(Sft):
    """Its validation loss is what stands in `losses`, one after the other; training goes on as ever."""

    def loss(self, model, batch, step):
        loss = super().loss(model, batch, step)
        if model.training:
            return loss
        return Loss(torch.tensor(self.losses[self.at()]), 1)


def staged(losses: list[float], watched: Any = None) -> Staged:
    strategy, calls = Staged(), iter(range(10_000))
    strategy.losses, strategy.at = losses, lambda: next(calls)
    return strategy


def test_stops_after_patience_and_leaves_the_best_weights(tmp_path):
    watch = Watch()
    losses = [3.0, 2.0, 2.5, 2.4, 2.3, 1.0]
    fitted, context = train(
        tmp_path, strategy=staged(losses), validation=held_out(1), trainer__val_check_interval=1, callbacks=[watch]
    )
    assert (fitted.steps, fitted.best_step, fitted.stopped_early) == (5, 2, True)
    for name, tensor in fitted.model.state_dict().items():
        assert torch.equal(tensor, watch.seen[1][name]), name
    said = [n["text"] for n in context.notes]
    assert "training stopped early, after step 5: 3 validations in a row without improvement" in said[-2]
    assert "the lowest validation loss, 2, was after step 2; these weights are saved and evaluated" in said[-1]
    assert (tmp_path / "checkpoints" / "best" / "step-00000002" / "manifest.json").is_file()
    assert (tmp_path / "checkpoints" / "step-00000005").is_dir()


def test_patience_null_min_delta_and_the_last_weights(tmp_path):
    watch = Watch()
    losses = [3.0, 2.0, 1.99, 1.98, *[2.0 + i for i in range(8)]]
    common = {"validation": held_out(1), "trainer__val_check_interval": 1}
    whole, context = train(
        tmp_path / "null", strategy=staged(losses), early_stopping__patience=None, early_stopping__best=False,
        callbacks=[watch], **common,
    )  # fmt: skip
    assert (whole.steps, whole.best_step, whole.stopped_early) == (STEPS, 4, False)
    assert torch.equal(whole.model.lm_head.weight, watch.seen[-1]["lm_head.weight"])
    assert "the last are saved: early_stopping.best=false" in context.notes[-1]["text"]
    fitted, _ = train(tmp_path / "delta", strategy=staged(losses), early_stopping__min_delta=0.5, **common)
    assert (fitted.steps, fitted.best_step) == (5, 4), "1.98 is lowest, but no improvement by 0.5"
    odd, context = train(tmp_path / "nan", strategy=staged([2.0, *[math.nan] * 11]), **common)
    assert (odd.steps, odd.best_step) == (4, 1)


def test_early_stopping_resumes_bit_for_bit(tmp_path):
    """Killed before the best, between best and stop, and after the stop; with the average beside."""
    common = {"trainer__val_check_interval": 1, "regularization__average": Kind.ema, "validation": held_out(1)}
    losses = [3.0, 2.9, 2.8, 2.0, 2.5, 2.4, 2.3, *[1.0] * 5]
    straight, _ = train(tmp_path / "straight", strategy=staged(losses), **common)
    assert (straight.steps, straight.best_step) == (7, 4)
    for at in (2, 5, 7):
        folder = tmp_path / str(at)
        with pytest.raises(Preempted):
            train(folder, strategy=staged(losses), callbacks=[Kill(at)], **common)
        # The validation of the step at which the signal came is cut short, and made up for.
        resumed, _ = train(folder, strategy=staged(losses[at - 1 :]), resume="it", **common)
        assert (resumed.steps, resumed.best_step, resumed.stopped_early) == (7, 4, True), at
        assert small.digest(resumed.model) == small.digest(straight.model), at
        again, context = train(folder, strategy=staged([]), resume="it", **common)
        assert small.digest(again.model) == small.digest(straight.model), at
        assert "training stopped early" in " ".join(n["text"] for n in context.notes)


def test_best_weights_that_are_damaged_are_not_used_silently(tmp_path):
    losses = [2.0, *[3.0] * 11]
    common = {"validation": held_out(1), "trainer__val_check_interval": 1}
    train(tmp_path, strategy=staged(losses), **common)
    best = tmp_path / "checkpoints" / "best" / "step-00000001" / "tensors.safetensors"
    best.write_bytes(best.read_bytes()[:-8])
    fitted, context = train(tmp_path, strategy=staged([]), resume="it", **common)
    assert "its weights cannot be read (tensors.safetensors has" in context.notes[-1]["text"]
    assert "the last ones, of step 4, are saved" in context.notes[-1]["text"]
    assert fitted.steps == 4


def test_without_a_validation_set_nothing_stops_and_nothing_is_said(tmp_path):
    fitted, context = train(tmp_path)
    assert (fitted.steps, fitted.best_step, fitted.stopped_early) == (STEPS, 0, False)
    assert not context.notes
    assert not (tmp_path / "checkpoints" / "best").exists()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("early_stopping__patience", 0, "must be 1 or more, or null"),
        ("early_stopping__min_delta", -0.1, "must be 0 or more"),
        ("regularization__ema_decay", 1.0, "at least 0 and below 1"),
        ("regularization__neftune_alpha", -1.0, "must be 0 or more"),
        ("regularization__swa_start", -1.0, "must be 0 or more"),
        ("optimizer__layer_decay", 0.0, "must be above 0, and 1 at most"),
        ("optimizer__weight_decay", -1.0, "must be 0 or more"),
        ("scheduler__warmup", -1.0, "must be 0 or more"),
    ],
)
def test_values_out_of_range_are_named(key, value, said):
    from tuneforge.model.tiny import Tiny

    run = small.settings(**{key: value, "model": Tiny()})
    (line,) = [p for p in problems(run) if p.startswith(key.replace("__", "."))]
    assert said in line


def test_optimizers_that_need_whole_parameters_refuse_fsdp():
    from tuneforge.model.tiny import Tiny
    from tuneforge.optimizer.adafactor import Adafactor
    from tuneforge.optimizer.muon import Muon

    for optimizer, refused in ((Adafactor(), True), (Muon(), False)):
        run = small.settings(optimizer=optimizer, model=Tiny(), trainer__strategy=Parallel.fsdp)
        assert any("cannot work on shares of a parameter" in p for p in problems(run)) is refused


# ---------------------------------------------------------------- no number


@dataclass(kw_only=True)
class Poisoned(Sft):
    """From the 9th micro-batch on: a loss or a gradient that is no number, while `wrong` says which."""

    wrong: str = "loss"

    def loss(self, model, batch, step):
        loss = super().loss(model, batch, step)
        if step.rows[0].line != 33 or step.run.learning_rate < 1e-2:
            return loss
        bad = {"loss": math.inf, "negative": -math.inf, "nan": math.nan}.get(self.wrong)
        if bad is not None:
            return Loss(loss.total * bad, loss.items)
        noise = model.lm_head.weight.sum() * 0
        return Loss(loss.total + torch.sqrt(noise), loss.items)  # its derivative at 0 is infinite


@pytest.mark.parametrize("wrong", ["loss", "negative", "nan", "gradient"])
@pytest.mark.parametrize("size", [4, 1], ids=["one micro-batch", "several"])
def test_no_number_stops_names_the_rows_and_the_run_goes_on_with_a_lower_rate(wrong, size, tmp_path, capsys):
    common = {"strategy": Poisoned(wrong=wrong), "batch__size": size, "batch__global_size": 4, "checkpoint__every": 4}
    with pytest.raises(TuneForgeError) as caught:
        train(tmp_path, **common)
    said = str(caught.value)
    several = "train.jsonl:33, train.jsonl:34, train.jsonl:35, train.jsonl:36"
    rows = several if size == 4 or wrong == "gradient" else "train.jsonl:33"
    assert said.startswith(f"the {'gradient' if wrong == 'gradient' else 'loss'} of step 9 is ")
    assert f"rows {rows}. Nothing was saved after step 8" in said
    assert f"tuneforge resume={tmp_path} optimizer.learning_rate=0.005" in said
    saved = Checkpoints(tmp_path / "checkpoints", 2, print).newest()
    assert saved is not None
    assert saved.step == 8
    assert all(torch.isfinite(t).all() for t in saved.state["weights"].values())
    fitted, context = train(tmp_path, resume="it", optimizer__learning_rate=0.005, **common)
    assert (fitted.resumed_from, fitted.steps) == (8, STEPS)
    assert "the learning rate is 0.005 from here on; it was 0.01" in context.notes[-1]["text"]
    assert all(math.isfinite(h["loss"]) for h in fitted.history)
    assert fitted.history[8]["learning_rate"] == pytest.approx(0.005 * (1 - 8 / STEPS))


def test_history_of_all_this_is_plain_json(tmp_path):
    fitted, _ = train(
        tmp_path, validation=held_out(), trainer__val_check_interval=3, regularization__average=Kind.ema,
        optimizer__layer_decay=0.9,
    )  # fmt: skip
    assert json.loads(json.dumps(fitted.history)) == fitted.history
