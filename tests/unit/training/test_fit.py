"""fit(): one run from encoded rows to a tuned model, and how it stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import lightning.pytorch as pl
import pytest
import torch

from tests.unit.training import small
from tuneforge.adapter.lora import Lora
from tuneforge.errors import ConfigError, DataRefused, Preempted, TuneForgeError
from tuneforge.optimizer.adamw import AdamW
from tuneforge.scheduler.constant import Constant
from tuneforge.scheduler.cosine import Cosine
from tuneforge.training.fit import fit
from tuneforge.training.groups import parameter_groups
from tuneforge.training.optimise import planned_steps


def train(folder, *, n=16, packing=False, validation=None, callbacks=(), adapter=None, model=None, **values):
    run = small.settings(adapter=adapter, **({"batch__size": 4, "trainer__max_epochs": 2} | values))
    data = small.encoded(small.rows(n))
    context = small.context(run, folder)
    return fit(run, small.loaded(model or small.llama()), data, validation, packing, context, callbacks), context


class At(pl.Callback):
    """Does something after a step."""

    def __init__(self, step, do):
        self.step, self.do, self.done, self.training = step, do, 0, []

    def on_train_batch_end(self, trainer, module, *args):
        self.done += 1
        self.training.append(module.model.training)
        if self.done == self.step:
            self.do()


def test_a_run_learns_logs_and_ends_in_eval_mode(tmp_path, capsys):
    held_out = small.encoded(small.rows(6, seed=1))
    fitted, _ = train(tmp_path, validation=held_out, trainer__max_epochs=6, early_stopping__patience=None)
    assert not fitted.model.training
    assert fitted.steps == 24
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]
    assert [h["step"] for h in fitted.history if "validation_loss" in h] == [4, 8, 12, 16, 20, 24]
    lines = (tmp_path / "logs" / "metrics.csv").read_text().splitlines()
    assert lines[0].startswith("step,train/loss,learning_rate,grad_norm,loss_tokens_per_second")
    assert "validation/loss" in lines[0]
    assert len(lines) == 25
    said = capsys.readouterr().out
    assert "24/24  loss" in said
    assert "val " in said
    assert "  note       the lowest validation loss, " in said
    assert len(said.splitlines()) == 11


def test_tokens_are_counted_without_padding(tmp_path):
    fitted, _ = train(tmp_path)
    rows = small.rows(16)
    assert fitted.tokens == 2 * sum(len(r.parts["input_ids"]) for r in rows)
    assert fitted.loss_tokens == 2 * sum(sum(x != -100 for x in r.parts["labels"][1:]) for r in rows)


def test_packing_changes_the_batches_not_the_loss(tmp_path):
    loss = {}
    for packing in (False, True):
        fitted, _ = train(tmp_path / str(packing), packing=packing, batch__size=16, trainer__max_epochs=1)
        loss[packing] = fitted.history[0]["loss"]
    assert loss[True] == pytest.approx(loss[False], rel=1e-5)


def test_a_model_that_comes_in_eval_mode_is_trained_with_dropout(tmp_path):
    spy = At(0, None)
    train(tmp_path, model=small.llama(dropout=0.5).eval(), callbacks=[spy])
    assert spy.training == [True] * 8


def test_adapter_runs_save_only_what_trains(tmp_path):
    fitted, _ = train(tmp_path, adapter=Lora(r=2))
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    size = sum(p.stat().st_size for p in newest.glob("*.safetensors"))
    trained = sum(p.numel() for p in fitted.model.parameters() if p.requires_grad)
    assert size < 4 * trained * 3 + 20_000  # weights, two moments, generators
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_step_saves_and_the_run_goes_on_exactly(tmp_path, number, code):
    straight, _ = train(tmp_path / "straight", model=small.llama(dropout=0.2))
    spy = At(3, lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    with pytest.raises(
        Preempted, match=f"{signal.Signals(number).name} after step 3 of 8; .* tuneforge resume="
    ) as caught:
        train(tmp_path / "run", model=small.llama(dropout=0.2), callbacks=[spy])
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before
    fitted, context = train(tmp_path / "run", model=small.llama(dropout=0.2), resume="it")
    assert fitted.resumed_from == 3
    assert "goes on after step 3 of 8" in context.notes[0]["text"]
    assert small.digest(fitted.model) == small.digest(straight.model)


def test_a_second_signal_ends_at_once():
    code = """
import os, signal, time
from tuneforge.training.signals import Interrupts
with Interrupts():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 143
    assert "once more ends at once" in done.stderr


def test_a_validation_that_a_signal_cut_short_is_made_up_for(tmp_path):
    class During(pl.Callback):
        def on_train_batch_end(self, trainer, module, *args):
            if module.tally.step == 4:
                os.kill(os.getpid(), signal.SIGTERM)

    held_out = small.encoded(small.rows(6, seed=1))
    straight, _ = train(tmp_path / "straight", validation=held_out)
    with pytest.raises(Preempted):
        train(tmp_path / "run", validation=held_out, callbacks=[During()])
    fitted, _ = train(tmp_path / "run", validation=held_out, resume="it")
    losses = [
        [(h["step"], h["validation_loss"]) for h in f.history if "validation_loss" in h] for f in (straight, fitted)
    ]
    assert losses[0] == losses[1]


def test_resuming_falls_back_past_a_damaged_checkpoint(tmp_path):
    straight, _ = train(tmp_path / "straight")
    with pytest.raises(Preempted):
        train(tmp_path / "run", checkpoint__every=2, callbacks=[At(5, lambda: os.kill(os.getpid(), signal.SIGTERM))])
    newest = tmp_path / "run" / "checkpoints" / "step-00000005" / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    fitted, context = train(tmp_path / "run", resume="it")
    assert fitted.resumed_from == 4
    assert "damaged" in context.notes[0]["text"]
    assert small.digest(fitted.model) == small.digest(straight.model)


def test_a_finished_run_that_is_resumed_trains_no_more(tmp_path):
    first, _ = train(tmp_path)
    again, _ = train(tmp_path, resume="it")
    assert again.resumed_from == 8
    assert small.digest(again.model) == small.digest(first.model)
    assert len(again.history) == 8


def test_a_finished_run_can_be_given_more_steps(tmp_path):
    train(tmp_path, scheduler__warmup=0, trainer__max_epochs=2)
    fitted, _ = train(tmp_path, scheduler__warmup=0, resume="it", trainer__max_epochs=3)
    assert (fitted.resumed_from, fitted.steps) == (8, 12)


def test_a_fresh_run_does_not_take_the_place_of_another(tmp_path):
    train(tmp_path)
    with pytest.raises(TuneForgeError, match="holds checkpoints of an earlier run; continue it with tuneforge resume="):
        train(tmp_path)


def test_resuming_with_another_adapter_is_refused(tmp_path):
    with pytest.raises(Preempted):
        train(tmp_path, callbacks=[At(2, lambda: os.kill(os.getpid(), signal.SIGTERM))])
    with pytest.raises(TuneForgeError, match=r"step 2 was made with adapter=full \(now lora\); what may"):
        train(tmp_path, adapter=Lora(r=2), resume="it")


def test_states_of_other_callbacks_are_part_of_a_checkpoint(tmp_path):
    class Counter(pl.Callback):
        seen = 0

        def on_train_batch_end(self, trainer, module, *args):
            self.seen += 1

        def state_dict(self):
            return {"seen": self.seen}

        def load_state_dict(self, state):
            self.seen = state["seen"]

    stop = At(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Preempted):
        train(tmp_path, callbacks=[stop, Counter()])
    counter = Counter()
    train(tmp_path, callbacks=[counter], resume="it")
    assert counter.seen == 8


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"batch__global_size": 6}, "batch.global_size=6 is no multiple of batch.size=4 x 1 device"),
        ({"trainer__max_epochs": None}, "the run has no end: set trainer.max_epochs or trainer.max_steps"),
        ({"trainer__devices": "two"}, "trainer.devices is 'two'; allowed: auto"),
        ({"trainer__precision": "bf17"}, "trainer.precision=bf17 cannot be used here"),
        ({"trainer__accelerator": "abacus"}, "trainer.accelerator=abacus"),
    ],
)
def test_settings_that_cannot_work_are_named(tmp_path, values, said):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path, **values)
    assert said in str(caught.value)


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(DataRefused):
        train(tmp_path, n=0)


def test_steps_are_planned_from_epochs_and_limits():
    def planned(units, **values):
        return planned_steps(small.settings(**({"batch__size": 4} | values)), units)

    assert planned(10, trainer__max_epochs=3) == (3, 9)
    assert planned(10, trainer__max_epochs=3, trainer__max_steps=5) == (3, 5)
    assert planned(10, trainer__max_epochs=None, trainer__max_steps=5, batch__global_size=8) == (2, 5)


def test_norms_and_biases_are_not_decayed():
    groups = parameter_groups(small.gpt2(), AdamW(weight_decay=0.1), 1.0)
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]
    assert all(p.ndim == 2 for p in groups[0]["params"])
    assert all(p.ndim == 1 for p in groups[1]["params"])
    assert sum(len(g["params"]) for g in groups) == len(list(small.gpt2().parameters()))


@pytest.mark.parametrize(
    ("scheduler", "want"),
    [
        (None, [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]),
        (Constant(warmup=2), [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]),
        (Cosine(warmup=2, floor=0.1), [0.0, 0.5, 1.0, 0.868198, 0.55, 0.231802]),
    ],
)
def test_learning_rates(scheduler, want):
    run = small.settings(scheduler__warmup=2)
    optimizer = run.optimizer.build([{"params": [torch.nn.Parameter(torch.zeros(1))], "weight_decay": 0.0}], 1.0)
    schedule = (scheduler or run.scheduler).build(optimizer, 6)
    rates = []
    for _ in want:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(want, abs=1e-6)


def test_bfloat16_mixed_runs(tmp_path):
    fitted, _ = train(tmp_path, trainer__precision="bf16-mixed")
    assert fitted.history[-1]["loss"] < 5


def test_what_says_more_than_the_loss_stands_beside_it():
    import io

    from tuneforge.training.log.progress import Progress

    out = io.StringIO()
    numbers = {"loss": 0.0, "grad_norm": 0.0, "learning_rate": 1e-5, "speed": 96.0, "reward": 0.815, "entropy": 2.0}
    Progress(1, out, "completions").step(1, {**numbers, "groups_alike": 0.5})
    assert "loss 0.000  reward 0.81  groups alike 0.50  grad 0" in out.getvalue()
    assert "entropy" not in out.getvalue()


def test_the_terminal_line_is_readable(monkeypatch):
    import io

    from tuneforge.training.log.progress import Progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "140")
    out = Terminal()
    progress = Progress(411, out)
    progress.start(0)
    numbers = {"loss": 0.4123, "grad_norm": 0.81, "learning_rate": 1.1e-4, "speed": 38_240.0, "validation_loss": 0.4551}
    progress.step(231, numbers)
    progress.close()
    assert "231/411  loss 0.412  val 0.455  grad 0.81  lr 1.1e-04  38.2k loss-tok/s  ETA 0:0" in out.getvalue()


def test_history_is_plain_json(tmp_path):
    fitted, _ = train(tmp_path)
    assert json.loads(json.dumps(fitted.history)) == fitted.history


def test_a_callback_that_stops_early_ends_the_run_with_a_checkpoint(tmp_path):
    from lightning.pytorch.callbacks import EarlyStopping

    watch = EarlyStopping("validation/loss", patience=0, min_delta=100.0, check_on_train_epoch_end=True)
    fitted, _ = train(
        tmp_path, validation=small.encoded(small.rows(4, seed=1)), trainer__max_epochs=9, callbacks=[watch]
    )
    assert fitted.steps == 8
    assert (tmp_path / "checkpoints" / "step-00000008").is_dir()


def test_no_steps_leave_the_model_as_it_was(tmp_path):
    fitted, _ = train(tmp_path, trainer__max_epochs=0)
    assert fitted.steps == 0
    assert small.digest(fitted.model) == small.digest(small.llama())


def test_deterministic_algorithms_are_for_training_only(tmp_path):
    train(tmp_path)
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_adapter_that_trains_nothing_is_refused(tmp_path):
    from tuneforge.adapter.full import Full

    class Frozen(Full):
        def apply(self, model, context):
            return model.requires_grad_(False)

    with pytest.raises(ConfigError, match="nothing trains"):
        train(tmp_path, adapter=Frozen())
