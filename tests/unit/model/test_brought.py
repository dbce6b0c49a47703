"""Starting from an adapter or an earlier run: what continue, merge and stack mean, in numbers."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.unit.training import small
from tuneforge import saved
from tuneforge.composition import Composed, compose_config
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.exporting import adapted_model
from tuneforge.model.brought import Brought
from tuneforge.model.hf import Hf
from tuneforge.rows import Loaded
from tuneforge.saving import save_model
from tuneforge.training.batches.collate import collate
from tuneforge.training.fit import fit
from tuneforge.training.step import TrainingStep

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of PEFT by itself
IDS = torch.tensor([[3, 5, 8, 13, 21, 34, 55]])
FAST = ["data=share.jsonl", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.max_steps=3", "batch.size=4"]
LORA, OTHER = ["adapter=lora", "adapter.r=4"], ["adapter=lora", "adapter.r=2"]


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@dataclasses.dataclass
class Stage:
    """One finished run."""

    folder: Path
    run: Any
    context: RunContext
    start: Any
    """Logits of the model as the run found it."""
    model: Any
    history: list[dict[str, Any]]

    @property
    def tuned(self) -> Any:
        return logits(self.model)


@cache
def composed(overrides: tuple[str, ...]) -> Composed:
    """Composed once; the model's path is set later."""
    return compose_config(["model=./later", "model.dtype=float32", *FAST, *overrides])


class Desk:
    """Makes runs as the command does: composed, saved, loaded from what was saved, trained, saved as a model."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.base = folder, base

    def open(self, name: str, model: Any, *overrides: str) -> tuple[Any, RunContext]:
        folder = self.folder / name
        folder.mkdir()
        made = composed(overrides)
        config = copy.deepcopy(made.config)
        config.model.path = str(getattr(model, "folder", model))
        saved.save(folder, dataclasses.replace(made, config=config))
        run = saved.load(folder)
        return run, RunContext(run, folder, cache=self.folder / "cache")

    def stage(self, name: str, model: Any, *overrides: str) -> Stage:
        run, context = self.open(name, model, *overrides)
        loaded = run.model.load(run.strategy.head, context)
        start = logits(loaded.model)
        rows = small.pairs(12) if run.strategy.record == "preference" else small.rows(12)
        run.optimizer.learning_rate = 2e-2
        fitted = fit(run, loaded, small.encoded(rows), None, False, context)
        save_model(run, Loaded(fitted.model, loaded.tokenizer), context.folder / "model")
        return Stage(context.folder, run, context, start, fitted.model, fitted.history)

    def plain(self) -> Any:
        return AutoModelForCausalLM.from_pretrained(self.base, dtype=torch.float32)


@pytest.fixture
def desk(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "share.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    return Desk(tmp_path, model_folder)


@pytest.fixture
def first(desk: Desk) -> Stage:
    return desk.stage("first", desk.base, *LORA)


def close(one: Any, two: Any, limit: float = 1e-6) -> bool:
    return float((one - two).abs().max()) < limit


def notes(stage: Any) -> str:
    return "\n".join(note["text"] for note in stage.context.notes)


# ---------------------------------------------------------------- what the three mean


@pytest.mark.parametrize(
    ("choice", "adapter"),
    [(None, LORA), ("continue", LORA), ("continue", OTHER), ("merge", LORA), ("merge", OTHER), ("stack", OTHER)],
    ids=lambda x: str(x),
)
def test_dpo_after_lora_has_the_tuned_model_as_its_reference(
    desk: Desk, first: Stage, choice: str | None, adapter: list[str]
) -> None:
    assert not close(first.start, first.tuned, 1e-3)
    chosen = [f"model.adapter={choice}"] if choice else []
    second = desk.stage("second", first, "strategy=dpo", *adapter, *chosen)
    assert close(second.start, first.tuned, 2e-6)
    assert not close(second.start, second.tuned, 1e-3)
    assert second.history[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert f"lineage: {first.folder} brings lora r=4" in notes(second)
    assert f"model.adapter={choice or 'continue'}" in notes(second)
    batch = collate(small.pairs(4), 0)
    with torch.no_grad():
        want = TrainingStep(first.run, first.model, None, first.context).log_probs(first.model, batch, "chosen")[0]
    off = second.run.adapter.off(second.model)
    if (choice or "continue") == "continue":
        assert off is None  # so that the references are computed before the first step
        return
    step = TrainingStep(second.run, second.model, None, second.context)  # type: ignore[arg-type]
    assert close(step.reference_log_probs(batch, "chosen"), want, 1e-4)
    assert not close(step.log_probs(second.model, batch, "chosen")[0].detach(), want, 1e-2)


def test_continued_adapter_is_the_brought_one_and_stock_peft_loads_it(desk: Desk, first: Stage) -> None:
    second = desk.stage("second", first, *LORA)
    config = json.loads((second.folder / "model" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(desk.base)
    assert close(logits(PeftModel.from_pretrained(desk.plain(), second.folder / "model")), second.tuned)
    assert {n for n, p in second.model.named_parameters() if p.requires_grad} == {
        n for n, p in first.model.named_parameters() if p.requires_grad
    }


def test_stacked_adapters_are_saved_apart_and_stock_peft_loads_them(desk: Desk, first: Stage) -> None:
    second = desk.stage("second", first, *OTHER, "model.adapter=stack")
    trained = {n for n, p in second.model.named_parameters() if p.requires_grad}
    assert trained
    assert all(".default." in n for n in trained)
    folder = second.folder / "model"
    assert (folder / "brought1" / "adapter_model.safetensors").is_file()
    stock = PeftModel.from_pretrained(desk.plain(), folder)
    stock.load_adapter(folder / "brought1", adapter_name="brought1")
    stock.base_model.set_adapter(["brought1", "default"])
    assert close(logits(stock), second.tuned)
    below = PeftModel.from_pretrained(desk.plain(), folder / "brought1")
    assert close(logits(below), first.tuned)


def test_a_chain_of_every_kind_of_stage(desk: Desk, first: Stage) -> None:
    """Each begins exactly where the one before ended, and each is exported as it is."""
    before = first
    stages = [
        LORA, [*OTHER, "model.adapter=stack"], [*OTHER, "model.adapter=continue"], [*LORA, "model.adapter=stack"],
        [*OTHER, "model.adapter=merge"], ["adapter=full"], ["adapter=ia3"],
    ]  # fmt: skip
    for at, choices in enumerate(stages):
        stage = desk.stage(f"stage{at}", before, "strategy=sft", *choices)
        assert close(stage.start, before.tuned, 5e-6), choices
        assert close(logits(adapted_model(stage.run, stage.folder, stage.context).model), stage.tuned, 5e-6), choices
        other = stage.context.model(str(stage.folder)).load("causal_lm", stage.context).model
        assert close(logits(other), stage.tuned, 5e-6), choices
        before = stage


def test_an_adapter_on_a_merged_model_names_no_base_that_it_would_not_fit(desk: Desk, first: Stage) -> None:
    second = desk.stage("second", first, *OTHER, "model.adapter=merge")
    config = json.loads((second.folder / "model" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == f"{first.folder} merged into its base"


def test_an_adapter_folder_from_elsewhere(desk: Desk, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(desk.plain(), LoraConfig(task_type="CAUSAL_LM", r=3, init_lora_weights=False))
    model.save_pretrained(tmp_path / "theirs")
    want = logits(model)
    for choice in ("continue", "merge", "stack"):
        stage = desk.stage(choice, tmp_path / "theirs", *LORA, f"model.adapter={choice}")
        assert close(stage.start, want, 2e-6)
        assert "made elsewhere" in notes(stage)
    whole = desk.stage("whole", tmp_path / "theirs", "adapter=full")
    assert close(whole.start, want, 2e-6)
    run, context = desk.open("null", tmp_path / "theirs", *LORA)
    with pytest.raises(ConfigError, match=r"brings an adapter \(of kind LORA, made elsewhere\)"):
        run.model.load("causal_lm", context)


@pytest.mark.parametrize("kind", ["bottleneck", "prompt", "prefix"])
def test_adapters_that_cannot_be_merged_train_on(desk: Desk, kind: str) -> None:
    one = desk.stage("one", desk.base, f"adapter={kind}")
    two = desk.stage("two", one, f"adapter={kind}")
    assert close(two.start, one.tuned)
    assert not close(two.start, two.tuned, 1e-4)
    assert two.run.adapter.off(two.model) is None
    for choice, word in (("merge", "cannot be merged into weights"), ("stack", "cannot stand on each other")):
        run, context = desk.open(choice, one, f"adapter={kind}", f"model.adapter={choice}")
        with pytest.raises(ConfigError, match=word):
            run.model.load("causal_lm", context)


def test_another_head_takes_the_merged_body(desk: Desk, first: Stage) -> None:
    run, context = desk.open("classes", first, *LORA, "model.adapter=merge")
    context.labels = ("a", "b")
    model: Any = run.model.load("sequence_classification", context).model
    assert type(model).__name__ == "LlamaForSequenceClassification"
    merged: Any = first.run.adapter.merge(first.model)
    with torch.no_grad():
        want, got = (m.eval().model(input_ids=IDS).last_hidden_state for m in (merged, model))
    assert close(want, got, 1e-5)
    assert "new weights, drawn with seed=0: score.weight" in "\n".join(n["text"] for n in context.notes)


def test_a_model_that_serves_beside_is_loaded_as_it_is(desk: Desk, first: Stage) -> None:
    """A teacher, say: the adapter of this run is no matter to it."""
    run, context = desk.open("student", desk.base, "adapter=full")
    assert close(logits(context.frozen(str(first.folder)).model), first.tuned)
    assert run.adapter.name == "full"


def test_tokenizer_and_template_go_along(desk: Desk, first: Stage) -> None:
    folder = first.folder / "model"
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}|{% endfor %}")
    run, context = desk.open("second", first, *LORA)
    tokenizer = run.model.load("causal_lm", context).tokenizer
    assert tokenizer.chat_template.endswith("|{% endfor %}")


# ---------------------------------------------------------------- paths


def test_a_link_is_kept_as_the_run_that_it_names(desk: Desk, first: Stage) -> None:
    (desk.folder / "outputs").mkdir()
    (desk.folder / "outputs" / "latest").symlink_to(first.folder)
    assert compose_config(["model=outputs/latest", *LORA]).config.model.path == str(first.folder)
    assert compose_config(["model=outputs/latest/model", *LORA]).config.model.path == str(first.folder / "model")
    with pytest.raises(ConfigError, match="is a link that moves with the next run; write model=outputs/latest"):
        compose_config(["model=hf", "model.path=outputs/latest", *LORA])


def test_learning_rate_knows_the_model_that_the_chain_began_with(desk: Desk) -> None:
    saved.save(desk.folder, compose_config(["model=tiny", *LORA]))
    (desk.folder / "next").mkdir()
    saved.save(desk.folder / "next", compose_config([f"model={desk.folder}", *LORA]))
    assert compose_config([f"model={desk.folder / 'next'}", *LORA]).run.learning_rate == pytest.approx(2e-5 * 10 * 30)
    assert Hf(path=str(desk.base)).learning_rate_factor == 1


def test_config_is_that_of_the_base(desk: Desk, first: Stage) -> None:
    assert Hf(path=str(first.folder)).config() == Hf(path=str(desk.base)).config()


# ---------------------------------------------------------------- bad input


def refused(desk: Desk, model: Any, *overrides: str, head: str = "causal_lm") -> str:
    run, context = desk.open("refused", model, *overrides)
    with pytest.raises(ConfigError) as error:
        run.model.load(head, context)
    return str(error.value)


def test_another_adapter_is_refused_with_all_three_choices(desk: Desk, first: Stage) -> None:
    assert refused(desk, first, *OTHER) == (
        f"model.path={first.folder} brings an adapter (lora r=4), and this run's is another (lora r=2); choose"
        " model.adapter=continue (it trains on, and is the reference of dpo), merge (into the base's weights, with a"
        " new one on top) or stack (frozen under a new one)"
    )


@pytest.mark.parametrize(
    ("overrides", "head", "message"),
    [
        (["adapter=ia3", "model.adapter=continue"], "causal_lm", "is of kind LORA, adapter=ia3 is not"),
        (["adapter=full", "model.adapter=stack"], "causal_lm", "is of kind LORA, adapter=full is not"),
        ([*LORA, "model.adapter=continue"], "reward", "was trained with a causal_lm head, this run has reward"),
        (["adapter=qlora", "model.adapter=merge"], "causal_lm", "adapter=qlora loads four-bit weights"),
        (["adapter=lora", "adapter.init=pissa", "model.adapter=stack"], "causal_lm", "takes its start out of the base"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_what_does_not_go_together(desk: Desk, first: Stage, overrides: list[str], head: str, message: str) -> None:
    run, context = desk.open("refused", first, *overrides)
    with pytest.raises(ConfigError, match=message):
        run.adapter.apply(run.model.load(head, context).model, context)


def test_a_run_that_left_no_model(desk: Desk) -> None:
    run, context = desk.open("failed", desk.base, *LORA)
    (context.folder / "run.json").write_text(json.dumps({"status": "failed", "error": "the disk is full"}))
    message = refused(desk, context.folder, *LORA)
    assert "left no model (its status is failed: the disk is full; continue it with tuneforge resume=" in message
    assert run.adapter.name == "lora"


def test_a_whole_model_brings_no_adapter(desk: Desk) -> None:
    whole = desk.stage("whole", desk.base, "adapter=full")
    assert "is a whole model and brings no adapter" in refused(desk, whole, *LORA, "model.adapter=merge")


def test_a_head_that_cannot_speak_is_refused(desk: Desk, tmp_path: Path) -> None:
    from transformers import LlamaForSequenceClassification

    plain = desk.plain()
    plain.config.tie_word_embeddings = False
    LlamaForSequenceClassification(plain.config).save_pretrained(tmp_path / "classes")
    for file in desk.base.glob("tokenizer*"):
        (tmp_path / "classes" / file.name).write_bytes(file.read_bytes())
    assert "its weights lack lm_head.weight" in refused(desk, tmp_path / "classes", *LORA)


def test_choices_are_three() -> None:
    assert [c.value for c in Brought] == ["continue", "merge", "stack"]
