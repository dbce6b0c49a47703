"""Composition: what a command line becomes, and everything that Hydra would let pass and we refuse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tuneforge
from tuneforge import saved
from tuneforge.composition import compose_config, points
from tuneforge.errors import ConfigError


def refused(*overrides: str, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        compose_config(overrides, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_the_bare_command_is_the_default_job() -> None:
    run = tuneforge.compose()
    assert list(run.data) == ["helpdesk", "replay"]
    assert list(run.test) == ["helpdesk_test", "general_test"]
    assert run.test["general_test"].role == "general"
    assert run.model.name == "tiny"


def test_a_source_is_removed_by_its_key() -> None:
    assert list(tuneforge.compose(["~data.replay"]).data) == ["helpdesk"]


def test_strategy_is_the_object_itself() -> None:
    run = tuneforge.compose(["strategy=dpo", "strategy.beta=0.3"])
    assert (run.strategy.name, run.strategy.beta) == ("dpo", 0.3)  # type: ignore[attr-defined]


def test_a_preset_chooses_an_adapter_and_the_command_line_wins() -> None:
    run = tuneforge.compose(["strategy=lora", "adapter.r=4"])
    assert (run.strategy.name, run.adapter.name, run.adapter.r) == ("sft", "lora", 4)  # type: ignore[attr-defined]
    assert tuneforge.compose(["strategy=lora", "adapter=full"]).adapter.name == "full"


def test_learning_rate_is_the_strategys_times_the_factors() -> None:
    run = tuneforge.compose(["strategy=lora", "data=a.jsonl", "model=./m"])
    assert run.learning_rate == pytest.approx(2e-4)
    assert tuneforge.compose().learning_rate == pytest.approx(6e-4)
    assert tuneforge.compose(["optimizer.learning_rate=3e-3"]).learning_rate == 3e-3


def test_paths_are_choices() -> None:
    run = tuneforge.compose(["data=[./sub/train.jsonl,other-set.csv.gz]", "test=~/t.parquet", "model=./Qwen"])
    assert {k: (s.name, s.path) for k, s in run.data.items()} == {
        "train": ("json", "./sub/train.jsonl"),
        "other_set": ("csv", "other-set.csv.gz"),
    }
    assert run.test["t"].path == str(Path("~/t.parquet").expanduser())
    assert (run.model.name, run.model.path) == ("hf", "./Qwen")  # type: ignore[attr-defined]


def test_naming_data_drops_the_bundled_sets() -> None:
    composed = compose_config(["data=a.jsonl"])
    assert list(composed.run.test) == ["share"]
    assert composed.notes == ["validation=share", "test=share"]
    assert list(compose_config(["data=a.jsonl", "test=b.jsonl"]).run.test) == ["b"]


def test_a_path_may_be_added() -> None:
    assert list(tuneforge.compose(["+data=./more.jsonl"]).data) == ["helpdesk", "replay", "more"]


def test_equal_stems_are_refused() -> None:
    assert "same stem" in refused("data=[./x/a.jsonl,./y/a.jsonl]")


def test_a_users_file_is_an_experiment(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(
        "defaults:\n  - override /data: [./mine.jsonl]\n  - override /strategy: lora\nseed: 9\nadapter: {r: 2}\n"
    )
    run = compose_config(["name=x"], file=file).run
    assert (list(run.data), run.seed, run.adapter.r, run.name) == (["mine"], 9, 2, "x")  # type: ignore[attr-defined]
    assert compose_config(["seed=2"], file=file).run.seed == 2


def test_experiments_of_a_config_dir_may_name_paths(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /data: ['~/d/train.jsonl']\nseed: 4\n"
    )
    run = compose_config(["experiment=mine"], config_dirs=[tmp_path]).run
    assert run.data["train"].path == str(Path("~/d/train.jsonl").expanduser())
    assert run.seed == 4


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["strategy=[dpo,sft]"], ["choose one"]),
        (["+strategy.typo=1"], ["strategy.typo", "no such key"]),
        (["strategy.lss_on=all"], ["strategy.lss_on", "loss_on"]),
        (["strategy=dop"], ["no such strategy", "'dpo'", "distill, dpo"]),
        (["strategi=dpo"], ["strategi", "'strategy'"]),
        (["seeed=1"], ["'seed'"]),
        (["adapter.r=4"], ["adapter.r", "adapter=lora"]),
        (["strategy.beta=1"], ["strategy=dpo"]),
        (["data.json.path=q"], ["data.json", "+data=json"]),
        (["transform.exact_dedup.fld=1"], ["transform.exact_dedup.fld", "Did you mean 'fold'"]),
        (["seed=abc"], ["seed", "abc"]),
        (["optimizer.learning_rate=fast"], ["optimizer.learning_rate", "fast"]),
        (["batch.packing=maybe"], ["batch.packing", "maybe"]),
        (
            ["strategy=dpo", "strategy.loss_type=sigmod"],
            ["strategy.loss_type=sigmod", "'sigmoid'", "allowed: sigmoid, hi"],
        ),
        (["strategy=clm", "strategy.beta=1"], ["The chosen strategy does not have it", "strategy=grpo, ", " have."]),
        (["strategy=grpo", "strategy.rewards=[exact_mach]"], ["strategy.rewards: there is no", "'exact_match'"]),
        (["trainer.precision=16-mixed", "trainer.accelerator=cpu"], ["trainer.precision=16-mixed", "bf16-mixed"]),
        (["data=json"], ["data.json.path", "path"]),
        (["data=[helpdesk,jsn]"], ["no such data", "'json'"]),
        (["data=notes.docx"], ["known suffixes", ".jsonl"]),
        (["evaluator=[exact_match,meteor]"], ["evaluator=meteor", "installed"]),
        (["experiment=nix"], ["no such experiment", "helpdesk"]),
        (["_target_=os.system"], ["_target_", "refused"]),
        (["+data.helpdesk._target_=os.system"], ["_target_", "refused"]),
        (["hydra.searchpath=[x]"], ["--config-dir"]),
        (["lr=1"], ["optimizer.learning_rate"]),
        (["per_device_train_batch_size=1"], ["batch.size"]),
        (["adapter.lora_r=4"], ["adapter.r"]),
        (["optimizer=adamw_bnb_8bit"], ["no such optimizer", "Here it is called optimizer=adamw_8bit"]),
        (["strategy=ppo"], ["no such strategy", "Here it is called strategy=grpo"]),
        (["deepspeed=zero3.json"], ["Here it is called trainer=fsdp"]),
        (["quantization_bit=4"], ["Here it is called adapter=qlora"]),
        (["data.helpdesk.role=safety"], ["data.helpdesk.role", "validation and test"]),
        (["test.general_test.weight=2"], ["test.general_test.weight", "training data"]),
        (["data.replay.weight=0"], ["data.replay.weight", "above 0"]),
        (["data=[share]"], ["share"]),
        (["batch.size=3", "batch.global_size=8"], ["batch.global_size=8", "multiple"]),
        (["batch.size=0", "max_quarantined=2"], ["batch.size=0", "max_quarantined=2"]),
        (["trainer.max_epochs=null", "trainer.max_steps=-1"], ["trainer.max_steps"]),
        (["strategy=dpo", "batch.packing=on"], ["cannot be packed"]),
        (["evaluator=exact_match", "evaluator.exact_match.sets=[helpdsk_test]"], ["'helpdesk_test'"]),
        (
            ["evaluator=exact_match", "evaluator.exact_match.sets=[helpdesk_validation]"],
            ["evaluator.exact_match.sets: 'helpdesk_validation' is a validation set", "(general_test, helpdesk_test)"],
        ),
        (["gate.metric=exactmatch.x"], ["gate.metric", "exact_match"]),
        (["evaluator=label", "gate.metric=acuracy"], ["gate.metric=acuracy", "Did you mean 'label.accuracy'?"]),
        (["model=hf", "model.path=x", "model.token=abc"], ["model.token", "${oc.env:NAME}"]),
        (["audit=null"], ["audit=null: holds several keys", "'audit.skip=[…]'", "audit.fail_on, audit.skip"]),
        (["audit.skip=null"], ["audit.skip=null: is a list", "'audit.skip=[]'"]),
        (["seed=null"], ["seed=null: is needed"]),
        (["seed"], ["no override"]),
        (["name='a"], ["cannot be read"]),
        (["gate.require=[rouge>=0,bleu>=1]"], ["cannot be read", """Write 'gate.require=["rouge>=0","bleu>=1"]'"""]),
        (["name=a>b"], ["cannot be read", """Write 'name="a>b"'"""]),
        (["'~data.replai'"], ["data.replai"]),
    ],
)
def test_refusals(overrides: list[str], parts: list[str]) -> None:
    message = refused(*(o.strip("'") if o.startswith("'~") else o for o in overrides))
    assert all(part in message for part in parts), message
    assert "Traceback" not in message
    assert len(message) < 900


def test_values_without_a_component_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "ghost.yaml"
    file.write_text("defaults:\n  - override /data: [helpdesk]\ndata: {other: {weight: 2}}\n")
    assert "data.other" in refused(file=file)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("strategy: {_target_: os.system}", "_target_"),
        ("defaults:\n  - override /strategy: [dpo, sft]\n", "choose one"),
        ("stratgy: dpo", "'strategy'"),
        ("seed: [", "not valid YAML"),
        ("- a\n- b\n", "key: value"),
        ("defaults:\n  - override /strategy: dop\n", "'dpo'"),
    ],
)
def test_a_users_file_is_refused_where_it_is_wrong(tmp_path: Path, text: str, part: str) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    assert part in refused(file=file)


def test_a_users_yaml_with_a_shipped_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "sft.yaml").write_text("loss_on: all\n")
    assert "strategy/sft" in refused(config_dirs=[tmp_path])


def test_one_composition_leaves_nothing_behind_for_the_next(tmp_path: Path) -> None:
    compose_config(["data=./a.jsonl"])
    assert re.search("no such data", refused("data=path_a2"))
    with pytest.raises(ConfigError):
        compose_config(["strategy=dop"])
    assert compose_config().run.strategy.name == "sft"


def test_a_grid_is_hydras_grammar() -> None:
    lists = points(["strategy=sft,dpo", "seed=range(1,3)", "name=a"])
    assert len(lists) == 4
    assert lists[0] == ["strategy=sft", "seed=1", "name=a"]


def test_a_saved_run_is_the_same_run(tmp_path: Path) -> None:
    overrides = ["strategy=lora", "data=[./a.jsonl,./b.csv]", "adapter.r=3", "model=./m", "model.token=${oc.env:HOME}"]
    composed = compose_config(overrides)
    saved.save(tmp_path, composed)
    assert saved.load(tmp_path) == composed.run
    assert "${oc.env:HOME}" in (tmp_path / "config.yaml").read_text()
