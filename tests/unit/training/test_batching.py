"""Micro-batches, batches by length, recomputation and the memory plan: none changes a result."""

from __future__ import annotations

import pytest
import torch

from tests.unit.training import small
from tuneforge import announce
from tuneforge.adapter.lora import Lora
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.model.tiny import Tiny
from tuneforge.rows import Encoded
from tuneforge.rules import problems
from tuneforge.sections import Grouping, Packing
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.sft import Sft
from tuneforge.training import proof
from tuneforge.training.batches import batching
from tuneforge.training.batches.feed import Feed
from tuneforge.training.batches.loader import WindowLoader
from tuneforge.training.fit import fit
from tuneforge.training.memory import plan as memory
from tuneforge.training.memory.recompute import checkpointed
from tuneforge.training.memory.trial import trial

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def train(folder, items, strategy=None, adapter=None, packing=False, micro=None, model=None, **values):
    run = small.settings(strategy, adapter, trainer__max_epochs=2, scheduler__warmup=0, **values)
    data, context = small.encoded(items), small.context(run, folder)
    fitted = fit(run, small.loaded(model or small.llama()), data, None, packing, context, micro=micro)
    return fitted, ([h["loss"] for h in fitted.history], [h["grad_norm"] for h in fitted.history])


CUTS = {
    "rows": {"items": small.rows(20)},
    "packs": {"items": small.rows(60), "packing": True},
    "recomputed": {"items": small.rows(20), "batch__gradient_checkpointing": True},
    "recomputed lora": {"items": small.rows(20), "adapter": Lora(r=4), "batch__gradient_checkpointing": True},
    "pairs": {"items": small.pairs(12), "strategy": Dpo()},
}


@pytest.mark.parametrize("name", CUTS)
def test_micro_batches_change_nothing(tmp_path, name):
    """8 at once, 8 in passes of 1 and of 3, and 8 steps of 1: the same losses and gradient norms."""
    ways = {
        "whole": {},
        "ones": {"micro": 1},
        "threes": {"micro": 3},
        "rows": {"batch__size": 1, "batch__global_size": 8},
    }
    results = {}
    for way, more in ways.items():
        given = {"batch__size": 8, "optimizer__learning_rate": 1e-3, **CUTS[name], **more}
        results[way] = train(tmp_path / way, **given)[1]
    for way, (losses, norms) in results.items():
        assert losses == pytest.approx(results["whole"][0], abs=2e-6), way
        assert norms == pytest.approx(results["whole"][1], rel=2e-5), way


@pytest.mark.parametrize("adapter", [None, Lora(r=4)], ids=["full", "lora"])
def test_recomputation_gives_the_same_gradients_with_the_same_dropout(tmp_path, adapter):
    found = {}
    for on in (False, True):
        model = small.llama(dropout=0.1)
        _, found[on] = train(
            tmp_path / str(on), small.rows(12), adapter=adapter, batch__gradient_checkpointing=on, batch__size=4,
            model=model,
        )  # fmt: skip
        assert not model.is_activation_checkpointing
    for recomputed, plain in zip(found[True], found[False], strict=True):
        assert recomputed == pytest.approx(plain, rel=1e-5)


def test_recomputation_keeps_less_for_the_backward_pass():
    model = small.llama(num_hidden_layers=4).train()
    kept = {}
    for on in (False, True):
        with checkpointed(model, on), memory.kept_for_backward(model) as found:
            loss = model(input_ids=torch.arange(2, 66).unsqueeze(0), use_cache=False).logits.sum()
        kept[on] = sum(found.values())
        del loss
    assert kept[True] < 0.5 * kept[False]


def test_a_model_that_cannot_recompute_is_refused():
    model = small.llama()
    model.supports_gradient_checkpointing = False
    with pytest.raises(ConfigError, match=r"batch\.gradient_checkpointing: LlamaForCausalLM does not have it"):
        checkpointed(model, True).__enter__()


def by_length(seed=0, units=100, **more):
    lengths = [3 + (i * 37) % 90 for i in range(units)]
    loader = WindowLoader(
        [[i] for i in range(units)],
        lambda chosen: {},
        size=4,
        accumulate=2,
        total=10**6,
        seed=seed,
        lengths=lengths,
        **more,
    )
    return loader, lengths


def test_grouped_order_has_every_row_once_and_less_padding_and_changes_with_epoch_and_seed():
    loader, lengths = by_length()
    first = list(loader.order(0))
    assert sorted(first) == list(range(100))
    assert first == list(by_length()[0].order(0))
    assert first != list(loader.order(1))
    assert first != list(by_length(seed=1)[0].order(0))

    def padded(order):
        return sum(len(part) * max(lengths[i] for i in part) for part in (order[i : i + 4] for i in range(0, 100, 4)))

    assert padded(first) < 0.75 * padded(loader._shuffled(0))
    longest = [max(lengths[i] for i in first[at : at + 8]) for at in range(0, 96, 8)]
    assert longest != sorted(longest, reverse=True)
    together = [{frozenset(order[at : at + 8]) for at in range(0, 96, 8)} for order in (first, list(loader.order(1)))]
    assert not together[0] & together[1]


def test_grouped_training_resumes_at_the_very_rows_with_the_same_forward_passes():
    straight, seen = by_length()[0], []
    for _ in range(2):
        seen += [[m.rows for m in window] for window in straight]
    for stop in (1, 7, 13, 20):
        begun, got = by_length(micro=3)[0], []
        while len(got) < stop:
            for window in begun:
                got.append([m.rows for m in window])
                if len(got) == stop:
                    break
        again = by_length(micro=2)[0]
        again.load_state_dict(begun.state_dict())
        assert again.micro == 3
        while len(got) < len(seen):
            got += [[m.rows for m in window] for window in again]
        assert [[r for m in w for r in m] for w in got] == [[r for m in w for r in m] for w in seen]


def test_devices_make_equally_many_passes_over_a_grouped_epoch():
    loaders = [by_length(units=21, micro=3, rank=r, world=2)[0] for r in range(2)]
    windows = [list(loader) for loader in loaders]
    assert [len(w) for w in windows[0]] == [len(w) for w in windows[1]]
    rows = sorted(r for mine in windows for w in mine for m in w if m.counts for r in m.rows)
    assert rows == list(range(21))


def test_grouping_is_chosen_where_it_saves_padding():
    run = small.settings(batch__size=4)
    uneven = [Encoded({"input_ids": [5] * n, "labels": [5] * n}) for n in (4, 60) * 40]
    even = [Encoded({"input_ids": [5] * 20, "labels": [5] * 20})] * 80
    feeds = [Feed(small.encoded(items), run.strategy, 0, False) for items in (uneven, even)]
    assert [batching._grouped(run, feed, False) for feed in feeds] == [True, False]
    assert not batching._grouped(run, feeds[0], True)
    run.batch.group_by_length = Grouping.off
    assert not batching._grouped(run, feeds[0], False)


@pytest.mark.parametrize("adapter", [None, Lora(r=4)], ids=["full", "lora"])
@pytest.mark.parametrize("way", ["plain", "recomputed"])
def test_the_memory_plan_counts_what_training_holds(tmp_path, adapter, way):
    """Parameters, gradients and the optimizer's state to the byte; activations grow with rows as planned."""
    run = small.settings(adapter=adapter, batch__size=8, batch__gradient_checkpointing=way == "recomputed")
    items = [Encoded({"input_ids": [5] * 60, "labels": [5] * 60})] * 16
    loaded, data = small.loaded(small.llama()), small.encoded(items)
    with trial(run, loaded, data, small.context(run, tmp_path)) as tried:
        model = tried.model
        tried.seconds([[0]], False)
        plan = tried.plan([[0]], False)
        trained = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
        assert plan.gradients == trained
        assert plan.parameters >= sum(p.numel() * 4 for p in model.parameters())
        assert plan.optimizer == pytest.approx(2 * trained, rel=0.01)
        assert memory.state_bytes(run, model) == pytest.approx(2 * trained, rel=0.01)
        assert tried.held([[i] for i in range(4)], False)[0] == pytest.approx(plan.activations, rel=0.1)
        assert memory.size_of(memory.skeleton(model)) == plan.parameters
        assert all(p.device.type == "meta" for p in memory.skeleton(model).parameters())
    assert not any(p.grad is not None for p in loaded.model.parameters())


def test_too_little_memory_cuts_the_batch_and_says_when_nothing_helps(tmp_path, monkeypatch):
    run = small.settings(batch__size=8)
    items = [Encoded({"input_ids": [5] * 60, "labels": [5] * 60})] * 16
    data, context = small.encoded(items), small.context(run, tmp_path)
    with trial(run, small.loaded(small.llama()), data, context) as tried:
        whole = tried.plan([[0]], False)
        assert (whole.micro, whole.size) == (8, 8)
        held = whole.parameters + whole.optimizer + whole.gradients
        for rows, micro in ((4, 4), (2.5, 2), (1, 1), (0.1, 1)):
            room = (held + rows * whole.kept * (whole.activations + whole.logits / 8 + 1)) / memory.USED + 1
            monkeypatch.setattr(memory, "available", lambda *_, room=room: int(room))
            assert tried.plan([[0]], False).micro == micro, rows
        feed, found = tried.feed(False), proof.Proof()
        batching._plan_memory(run, tried, feed, found, context)
        assert found.micro == 1
        assert "are free. Lower batch.max_length" in context.notes[-1]["text"]
        run.batch.micro = 5
        assert tried.plan([[0]], False).micro == 5


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("adapter", [None, Lora(r=4)], ids=["full", "lora"])
def test_the_memory_plan_counts_other_models(tmp_path, adapter):
    """A teacher, and a copy as the reference where the adapter cannot be turned off."""

    class Watching(Sft):
        def begin(self, rows, step):
            step.keep_reference()
            self.teacher = step.frozen("tiny").model

        def loss(self, model, batch, step):
            step.reference_token_log_probs(batch)
            return super().loss(model, batch, step)

    strategy = Watching()
    run, plain = (small.settings(chosen, adapter, batch__size=8) for chosen in (strategy, Sft()))
    plans = []
    for chosen in (run, plain):
        loaded, data = small.loaded(small.llama()), small.encoded(small.rows(16))
        with trial(chosen, loaded, data, small.context(chosen, tmp_path / str(len(plans)))) as tried:
            plans.append(tried.plan([[0]], False))
    teacher = sum(p.numel() * p.element_size() for p in [*strategy.teacher.parameters(), *strategy.teacher.buffers()])
    assert plans[0].others == teacher + (plans[0].parameters if adapter is None else 0)
    assert plans[1].others == 0
    assert plans[0].peak - plans[1].peak == plans[0].others
    said = announce._memory(proof.Proof(memory={**plans[0]._asdict(), "peak": plans[0].peak}))
    assert said.endswith("MiB of it other models"), said


def test_the_peak_is_measured(tmp_path):
    """A ballast that training holds for one step shows in the measured peak."""

    class Heavy(Sft):
        def loss(self, model, batch, step):
            self.ballast = torch.ones(64 * 2**18)  # 64 MiB
            return super().loss(model, batch, step)

    plain, _ = train(tmp_path / "plain", small.rows(8))
    heavy, _ = train(tmp_path / "heavy", small.rows(8), strategy=Heavy())
    assert heavy.peak_memory - plain.peak_memory > 48 * 2**20


@pytest.mark.parametrize(("micro", "said"), [(0, "must be between 1 and batch.size=8"), (9, "must be between")])
def test_impossible_micro_batches_are_refused(micro, said):
    assert any(said in problem for problem in problems(small.settings(batch__micro=micro)))


def test_a_loss_that_couples_rows_is_not_cut():
    run = small.settings(Dpo(loss_type="aot"), batch__micro=4)
    assert any("needs its whole batch" in problem for problem in problems(run))


def test_the_decoder_is_compiled_for_training_alone_and_keeps_its_names(tmp_path, monkeypatch):
    """With a compiler that only counts: the real one takes minutes on a loaded machine."""
    calls = []

    def compiled(self, **more):
        self._compiled_call_impl = lambda *args, **named: calls.append(self) or self._call_impl(*args, **named)

    monkeypatch.setattr(torch.nn.Module, "compile", compiled)
    results = {}
    for on in (False, True):
        model = small.llama()
        fitted, results[on] = train(tmp_path / str(on), small.rows(8), trainer__compile=on, model=model)
        assert len(calls) == (3 if on else 0)  # tried once, two steps of training, no evaluation
        assert not any("_orig_mod" in name for name in fitted.model.state_dict())
        assert model.model._compiled_call_impl is None
    assert set(calls) == {model.model}
    assert results[True] == results[False]


def test_a_compiler_that_fails_is_said_and_training_goes_on(tmp_path, monkeypatch):
    def fails(*args, **more):
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(torch.nn.Module, "compile", fails)
    run = small.settings(trainer__max_epochs=1, trainer__compile=True)
    context = small.context(run, tmp_path)
    fitted = fit(run, small.loaded(small.llama()), small.encoded(small.rows(8)), None, False, context)
    assert fitted.steps == 1
    assert "training goes on without it: no compiler here" in context.notes[-1]["text"]


def test_a_resumed_run_keeps_what_was_decided(tmp_path):
    """Chosen by measured time and memory once, and written down: another machine would choose otherwise."""
    found = {}
    for resume in (None, str(tmp_path)):
        run = small.settings(batch__size=4, batch__packing=Packing.off, resume=resume)
        found[resume] = proof.Proof()
        batching.decide(
            run, small.loaded(small.llama()), small.encoded(small.rows(40)), found[resume], small.context(run, tmp_path)
        )
        kept = tmp_path / "data/batching.json"
        if resume is None:
            kept.write_text(
                kept.read_text().replace('"micro": 4', '"micro": 3').replace('"grouped": true', '"grouped": false')
            )
    assert (found[None].micro, found[str(tmp_path)].micro) == (4, 3)
    assert (found[None].grouped, found[str(tmp_path)].grouped) == (True, False)
    assert found[None].memory["peak"] > found[str(tmp_path)].memory["peak"]
    assert 0 < found[None].padding < found[str(tmp_path)].padding < 1


def test_equal_runs_on_one_machine_decide_alike_though_no_two_measurements_are_equal(tmp_path):
    found = []
    for number, size in enumerate((4, 4, 2)):
        rate = 1e-3 / (number + 1)
        run = small.settings(
            batch__size=size, batch__packing=Packing.auto, trainer__max_epochs=100, optimizer__learning_rate=rate
        )
        decided, context = proof.Proof(), RunContext(run, tmp_path / str(number), tmp_path / "cache")
        batching.decide(run, Tiny().load("causal_lm", context), small.encoded(small.rows(40)), decided, context)
        found.append(decided.packing_speed)
    assert found[0] == found[1] != found[2]
    assert min(found) > 0


def test_a_cache_that_cannot_be_written_is_said_and_harms_nothing(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder is wanted")
    run = small.settings(batch__size=4, batch__packing=Packing.auto, trainer__max_epochs=100)
    decided, context = proof.Proof(), RunContext(run, tmp_path / "run", tmp_path / "cache")
    batching.decide(run, Tiny().load("causal_lm", context), small.encoded(small.rows(40)), decided, context)
    assert decided.packing_speed > 0
    assert any("how fast packs are is not kept for later runs: " in note["text"] for note in context.notes)
