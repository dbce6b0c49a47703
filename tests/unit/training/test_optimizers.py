"""Optimizers and schedulers equal their libraries used bare; groups, layer-wise rates, and resuming, bit for bit."""

from __future__ import annotations

import copy
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from tests.unit.training import small
from tuneforge.adapter.lora import Lora
from tuneforge.errors import ConfigError, Preempted, TuneForgeError
from tuneforge.optimizer.adafactor import Adafactor
from tuneforge.optimizer.adamw import AdamW
from tuneforge.optimizer.adamw_8bit import AdamW8Bit
from tuneforge.optimizer.lion import Lion
from tuneforge.optimizer.muon import Muon, Scaling
from tuneforge.optimizer.schedule_free import ScheduleFree
from tuneforge.optimizer.sgd import Sgd
from tuneforge.scheduler.constant import Constant
from tuneforge.scheduler.cosine_with_restarts import CosineWithRestarts
from tuneforge.scheduler.inverse_sqrt import InverseSqrt
from tuneforge.scheduler.polynomial import Polynomial
from tuneforge.scheduler.wsd import Shape, Wsd
from tuneforge.training.batches.collate import collate
from tuneforge.training.fit import fit
from tuneforge.training.groups import parameter_groups
from tuneforge.training.loss import likelihood

STEPS, SIZE, RATE, DECAY = 12, 4, 5e-3, 0.1
OPTIMIZERS = {
    "adamw": AdamW(weight_decay=DECAY),
    "adamw_8bit": AdamW8Bit(weight_decay=DECAY, smallest=1024),
    "adafactor": Adafactor(weight_decay=DECAY),
    "adafactor, scaled, with a mean": Adafactor(weight_decay=DECAY, beta1=0.9, scale_parameter=True),
    "lion": Lion(weight_decay=DECAY),
    "muon": Muon(weight_decay=DECAY),
    "muon, original": Muon(weight_decay=DECAY, scaling=Scaling.original, nesterov=False),
    "schedule_free": ScheduleFree(weight_decay=DECAY),
    "sgd": Sgd(weight_decay=DECAY, nesterov=True),
}
each = pytest.mark.parametrize("name", OPTIMIZERS)
quiet = pytest.mark.filterwarnings("ignore::UserWarning:bitsandbytes", "ignore::DeprecationWarning")


def norms(model: Any) -> set[str]:
    return {n for n, p in model.named_parameters() if p.ndim < 2}


def _fused(groups: list[Any]) -> Any:
    return torch.optim.AdamW(groups, lr=RATE, fused=True)


def bare(name: str, model: Any) -> list[Any]:
    """The library's own optimizers over the model, as its documentation has it."""
    named = dict(model.named_parameters())
    plain = [p for n, p in named.items() if n in norms(model)]
    matrices = [p for n, p in named.items() if n not in norms(model)]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    if name == "adamw":
        return [torch.optim.AdamW(groups, lr=RATE)]
    if name == "adamw_8bit":
        from bitsandbytes.optim import AdamW8bit

        return [AdamW8bit(groups, lr=RATE, min_8bit_size=1024)]
    if name.startswith("adafactor"):
        from transformers.optimization import Adafactor as Reference

        more = {"beta1": 0.9, "scale_parameter": True} if "scaled" in name else {"scale_parameter": False}
        return [Reference(groups, lr=RATE, relative_step=False, **more)]
    if name == "lion":
        from bitsandbytes.optim import Lion as Reference

        return [Reference(groups, lr=RATE)]
    if name.startswith("muon"):
        hidden = [p for n, p in named.items() if ".layers." in n and p.ndim == 2]
        rest = [p for n, p in named.items() if n in ("model.embed_tokens.weight", "lm_head.weight")]
        more = {"adjust_lr_fn": "original", "nesterov": False} if "original" in name else {
            "adjust_lr_fn": "match_rms_adamw"
        }  # fmt: skip
        adamw = [{"params": rest, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
        return [torch.optim.Muon(hidden, lr=RATE, weight_decay=DECAY, **more), _fused(adamw)]
    if name == "schedule_free":
        from schedulefree import AdamWScheduleFree

        made = AdamWScheduleFree(groups, lr=RATE)
        made.train()
        return [made]
    return [torch.optim.SGD(groups, lr=RATE, momentum=0.9, nesterov=True)]


def train(folder: Any, optimizer: Any, **more: Any) -> tuple[Any, Any]:
    """`more`: model, adapter, validation, callbacks, and settings."""
    model, adapter = more.pop("model", None) or small.llama(tie=False), more.pop("adapter", None)
    validation, callbacks, rate = more.pop("validation", None), more.pop("callbacks", ()), more.pop("rate", RATE)
    items = small.encoded(small.rows(STEPS * SIZE))
    values = {"batch__size": SIZE, "trainer__max_epochs": 1, "trainer__gradient_clip_val": None, "scheduler__warmup": 0}
    run = small.settings(adapter=adapter, **({"scheduler": Constant()} | values | more))
    run.optimizer = copy.deepcopy(optimizer)
    run.optimizer.learning_rate = rate
    context = small.context(run, folder)
    order = lambda epoch: range(STEPS * SIZE)  # noqa: E731
    return fit(run, small.loaded(model), items, validation, False, context, callbacks, order=order), context


@quiet
@each
def test_equals_the_library_used_bare(name, tmp_path):
    model = small.llama(tie=False)
    optimizers = bare(name, model)
    rows, losses = small.rows(STEPS * SIZE), []
    for step in range(STEPS):
        batch = collate(rows[step * SIZE : (step + 1) * SIZE], 0)
        total, items = likelihood.summed(model.train(), likelihood.find_parts(model), batch)
        (-total).backward()
        for parameter in model.parameters():
            parameter.grad *= 1 / items.item()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(-total.item() / items.item())
    if name == "schedule_free":
        optimizers[0].eval()
    fitted, _ = train(tmp_path, OPTIMIZERS[name])
    assert [h["loss"] for h in fitted.history] == pytest.approx(losses, abs=1e-6)
    with torch.no_grad():
        pairs = zip(model.parameters(), fitted.model.parameters(), strict=True)
        assert max(float((a - b).abs().max()) for a, b in pairs) < 1e-6
    assert max(losses) - min(losses) > 0.01, "nothing was learnt that could have differed"


class Kill(pl.Callback):
    def __init__(self, step: int) -> None:
        self.at = step

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        if module.tally.step == self.at:
            signal.raise_signal(signal.SIGTERM)


def same_after_a_kill(folder: Any, optimizer: Any, model: Any, **more: Any) -> Any:
    """Trained straight, and killed and resumed: equal weights and losses. The straight run and its context."""
    straight, context = train(folder / "straight", optimizer, model=model(), **more)
    with pytest.raises(Preempted):
        train(folder / "run", optimizer, model=model(), callbacks=[Kill(7)], **more)
    resumed, _ = train(folder / "run", optimizer, model=model(), resume="it", **more)
    assert resumed.resumed_from == 7
    assert small.digest(resumed.model) == small.digest(straight.model)
    keep = lambda f: [{k: v for k, v in h.items() if k != "speed"} for h in f.history]  # noqa: E731
    assert keep(resumed) == keep(straight)
    again, _ = train(folder / "run", optimizer, model=model(), resume="it", **more)
    assert small.digest(again.model) == small.digest(straight.model), "a finished run that is resumed"
    return straight, context


@quiet
@each
def test_resumes_bit_for_bit(name, tmp_path):
    optimizer = OPTIMIZERS[name]
    held_out = small.encoded(small.rows(4, seed=1))
    more = {"validation": held_out, "trainer__val_check_interval": 2, "early_stopping__best": False}
    same_after_a_kill(tmp_path, optimizer, lambda: small.llama(tie=False, dropout=0.1), **more)


@quiet
@pytest.mark.parametrize("name", ["adafactor", "adamw_8bit", "schedule_free"])
def test_state_wider_than_its_parameter_resumes_bit_for_bit(name, tmp_path):
    same_after_a_kill(tmp_path, OPTIMIZERS[name], lambda: small.llama().bfloat16(), trainer__precision="bf16-true")


def test_muon_takes_the_matrices_of_layers_and_nothing_else():
    model = small.llama(tie=False)
    names = {id(p): n for n, p in model.named_parameters()}
    optimizer = Muon().build(parameter_groups(model, Muon(), 1.0), 1.0)
    split = {h: sorted(names[id(p)] for g in optimizer.param_groups if g["hidden"] is h for p in g["params"])
             for h in (True, False)}  # fmt: skip
    kinds = ("mlp.down_proj", "mlp.gate_proj", "mlp.up_proj", "self_attn.k_proj", "self_attn.o_proj",
             "self_attn.q_proj", "self_attn.v_proj")  # fmt: skip
    assert split[True] == [f"model.layers.{i}.{kind}.weight" for i in (0, 1) for kind in kinds]
    layer_norms = [f"model.layers.{i}.{n}_layernorm.weight" for i in (0, 1) for n in ("input", "post_attention")]
    assert split[False] == sorted(["lm_head.weight", "model.embed_tokens.weight", "model.norm.weight", *layer_norms])


def test_muon_under_lora_takes_all_and_without_matrices_is_refused(tmp_path):
    fitted, _ = train(tmp_path / "lora", Muon(), adapter=Lora(r=4))
    groups = parameter_groups(fitted.model.train(), Muon(), 1.0)
    assert [g["hidden"] for g in groups] == [True]
    assert fitted.steps == STEPS
    model = small.llama()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "norm" in name
    with pytest.raises(ConfigError, match="no matrix of a layer trains; use optimizer=adamw"):
        Muon().build(parameter_groups(model, Muon(), 1.0), 1.0)


@pytest.mark.parametrize("model", [small.llama, small.gpt2], ids=["llama", "gpt2"])
def test_layers_learn_at_rates_of_their_own(model):
    made = model()
    names = {id(p): n for n, p in made.named_parameters()}
    groups = parameter_groups(made, AdamW(layer_decay=0.5, weight_decay=0.1), 1.0)
    rates = {names[id(p)]: (g["lr"], g["place"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert len(rates) == len(names)
    for name, (rate, place, decay) in rates.items():
        number = next((int(part) for part in name.split(".") if part.isdigit()), None)
        embedding = "embed" in name or "wte" in name or "wpe" in name
        want = 0.125 if embedding else 1.0 if number is None else (0.25, 0.5)[number]
        assert rate == want, name
        assert place == ("embeddings" if embedding else "head" if number is None else f"layer_{number:02d}")
        assert (decay == 0.0) == ("norm" in name or "ln_" in name or "bias" in name), name


def test_a_model_without_layers_has_no_rates_for_them():
    with pytest.raises(ConfigError, match="no list of layers"):
        parameter_groups(torch.nn.Linear(2, 2), AdamW(layer_decay=0.9), 1.0)


@quiet
@each
def test_layer_decay_goes_with_the_schedule_and_stands_in_the_log(name, tmp_path):
    optimizer = copy.deepcopy(OPTIMIZERS[name])
    optimizer.layer_decay = 0.5
    scheduler = Constant() if name == "schedule_free" else Wsd(decay=6, shape=Shape.linear)
    fitted, _ = train(tmp_path, optimizer, scheduler=scheduler)
    for line in fitted.history:
        top = line["learning_rate"]
        assert line["learning_rate/head"] == top
        assert line["learning_rate/layer_01"] == pytest.approx(top / 2)
        assert line["learning_rate/embeddings"] == pytest.approx(top / 8)
    assert "learning_rate/layer_00" in (tmp_path / "logs" / "metrics.csv").read_text().splitlines()[0]
    assert (fitted.history[-1]["learning_rate"] < RATE) == (name != "schedule_free")


def test_layer_decay_changes_what_is_learnt_by_its_factor(tmp_path):
    """Under plain SGD the first step of each parameter is its rate times the gradient."""
    found = {}
    for decay in (1.0, 0.5):
        model = small.llama()
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        fitted, _ = train(
            tmp_path / str(decay), Sgd(momentum=0.0, weight_decay=0.0, layer_decay=decay), model=model,
            trainer__max_steps=1,
        )  # fmt: skip
        found[decay] = {n: (p.detach() - before[n]).norm().item() for n, p in fitted.model.named_parameters()}
    share = {n: found[0.5][n] / found[1.0][n] for n in found[1.0]}
    assert share["model.embed_tokens.weight"] == pytest.approx(1 / 8, rel=1e-2)
    assert share["model.layers.0.mlp.up_proj.weight"] == pytest.approx(1 / 4, rel=1e-2)
    assert share["model.norm.weight"] == pytest.approx(1, rel=1e-2)


# ---------------------------------------------------------------- schedules

SCHEDULES = {
    "polynomial": (Polynomial(warmup=7, power=1.5, floor=0.1), "polynomial", {"power": 1.5, "lr_end": 0.1 * RATE}),
    "inverse_sqrt": (InverseSqrt(warmup=7), "inverse_sqrt", {}),
    "inverse_sqrt, timescale": (InverseSqrt(warmup=7, timescale=11), "inverse_sqrt", {"timescale": 11}),
    "inverse_sqrt, cold": (InverseSqrt(warmup=0), "inverse_sqrt", {}),
    "wsd": (Wsd(warmup=7, decay=0.3), "warmup_stable_decay", {"num_decay_steps": 30}),
    "wsd, linear": (
        Wsd(warmup=7, decay=20, shape=Shape.linear, floor=0.2), "warmup_stable_decay",
        {"num_decay_steps": 20, "decay_type": "linear", "min_lr_ratio": 0.2},
    ),
    "wsd, sqrt": (
        Wsd(warmup=0, decay=20, shape=Shape.sqrt), "warmup_stable_decay",
        {"num_decay_steps": 20, "decay_type": "1-sqrt"},
    ),
    "cosine_with_restarts": (CosineWithRestarts(warmup=7, cycles=3), "cosine_with_restarts", {"num_cycles": 3}),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_equal_transformers(name):
    from transformers import get_scheduler

    ours, theirs, more = SCHEDULES[name]
    rates = []
    for make in (
        lambda o: ours.build(o, 100),
        lambda o: get_scheduler(
            theirs, o, num_warmup_steps=int(ours.warmup), num_training_steps=100, scheduler_specific_kwargs=more
        ),
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
        schedule = make(optimizer)
        rates.append([])
        for _ in range(100):
            rates[-1].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    warm = [r for r in range(100) if not ("floor=0.2" in repr(ours) and r < 7)]  # theirs begins at the floor
    assert [rates[0][i] for i in warm] == pytest.approx([rates[1][i] for i in warm], abs=1e-12)
    assert max(rates[0]) == RATE
    assert min(rates[0]) < RATE


# ---------------------------------------------------------------- refusals and resuming


def test_schedule_free_refuses_a_schedule_and_a_second_average():
    run = small.settings()
    run.optimizer = ScheduleFree()
    assert "choose scheduler=constant" in next(iter(run.optimizer.check(run)))
    run.scheduler = Constant()
    assert list(run.optimizer.check(run)) == []
    run.regularization.average = type(run.regularization.average).ema
    assert "would average it once more" in next(iter(run.optimizer.check(run)))


def test_schedule_free_validates_and_saves_its_average(tmp_path):
    """The best checkpoint holds the average; training goes on from the iterate as if nothing had been looked at."""
    held_out = small.encoded(small.rows(4, seed=1))
    plain, _ = train(tmp_path / "plain", ScheduleFree())
    watched, _ = train(
        tmp_path / "watched", ScheduleFree(), validation=held_out, trainer__val_check_interval=1,
        early_stopping__best=False, early_stopping__patience=None,
    )  # fmt: skip
    assert small.digest(plain.model) == small.digest(watched.model)
    from tuneforge.training.checkpoint import Checkpoints

    state = Checkpoints(tmp_path / "plain" / "checkpoints", 2, print).newest().state
    trained = dict(plain.model.named_parameters())
    kept = state["weights"]["model.embed_tokens.weight"]
    assert not torch.equal(kept, trained["model.embed_tokens.weight"]), "the iterate is what is trained on"


def test_another_optimizer_is_refused_and_another_rate_is_taken(tmp_path):
    with pytest.raises(Preempted):
        train(tmp_path, AdamW(), callbacks=[Kill(7)], scheduler=InverseSqrt(timescale=3))
    with pytest.raises(TuneForgeError, match=r"step 7 was made with optimizer=adamw \(now sgd\); what may"):
        train(tmp_path, Sgd(), resume="it", scheduler=InverseSqrt(timescale=3))
    with pytest.raises(TuneForgeError, match=r"made with optimizer.beta2=0\.999 \(now 0\.9\); what may"):
        train(tmp_path, AdamW(beta2=0.9), resume="it", scheduler=InverseSqrt(timescale=3))
    fitted, context = train(tmp_path, AdamW(), resume="it", scheduler=InverseSqrt(timescale=3), rate=RATE / 10)
    want = [RATE * (1 if i < 7 else 0.1) / ((i + 3) / 3) ** 0.5 for i in range(STEPS)]
    assert [h["learning_rate"] for h in fitted.history] == pytest.approx(want, rel=1e-9)
    assert any("the learning rate is 0.0005 from here on; it was 0.005" in n["text"] for n in context.notes)


@pytest.mark.parametrize(
    ("module", "optimizer", "line"),
    [
        (
            "bitsandbytes",
            AdamW8Bit(),
            r"optimizer=adamw_8bit needs bitsandbytes: pip install 'tuneforge\[quant",
        ),
        ("bitsandbytes", Lion(), r"optimizer=lion needs bitsandbytes: pip install 'tuneforge\[quant"),
        ("schedulefree", ScheduleFree(), r"optimizer=schedule_free needs schedulefree: pip install 'tuneforge\[sched"),
    ],
)
def test_a_missing_library_is_one_line(monkeypatch, module, optimizer, line):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=line):
        optimizer.build([{"params": [torch.nn.Parameter(torch.zeros(1))], "weight_decay": 0.0}], 1.0)


def test_what_a_checkpoint_was_made_with_is_plain_for_every_component():
    import json

    from tuneforge import plugins
    from tuneforge.training.origin import PARTS, origin, refuse_another

    seen = 0
    for reference, cls in plugins.load().components.items():
        group = reference.split("/")[0]
        if group in PARTS:
            run = small.settings(**{group: cls()})
            again = json.loads(json.dumps(origin(run)))
            refuse_another(again, run, 1, Path("here"))
            assert again[group][""] == reference.split("/")[1]
            seen += 1
    assert seen > 30
    run = small.settings(optimizer=AdamW())
    with pytest.raises(TuneForgeError, match=r"made with optimizer=sgd \(now adamw\).* with: tuneforge --from here$"):
        refuse_another(origin(small.settings(optimizer=Sgd())), run, 1, Path("here"))
