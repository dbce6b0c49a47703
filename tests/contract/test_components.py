"""What every registered component keeps to, whoever brought it."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

import tuneforge
from tuneforge import plugins, saved
from tuneforge.components import Component, Evaluator, Strategy
from tuneforge.composition import compose_config
from tuneforge.describe import field_texts, show
from tuneforge.hookspecs import RunFinished, RunStarted, StageFinished
from tuneforge.kinds import KINDS, REQUIRED_METHODS, SEVERAL
from tuneforge.settings import Run

CATALOGUE = plugins.load()
COMPONENTS = sorted(CATALOGUE.components)
each = pytest.mark.parametrize("reference", COMPONENTS)
RECORDS = {"text", "messages", "completion", "preference", "label", "tags", "pair", "unpaired", "prompt"}
NEEDS = {
    "strategy/grpo": ["strategy.rewards=[exact_match]"],
    "strategy/multitask": ["+strategy@strategy.tasks.a=sft", "+strategy@strategy.tasks.b=dpo"],
    "evaluator/code_execution": ["evaluator.code_execution.allow=true"],
    "evaluator/json_schema": ["evaluator.json_schema.schema=ticket.json"],
    "evaluator/query_execution": ["evaluator.query_execution.database=shop.sqlite"],
    "evaluator/bert_score": ["evaluator.bert_score.model=./reader"],
    "evaluator/lm_eval": ["evaluator.lm_eval.tasks=[pick]"],
    "evaluator/reward_model": ["evaluator.reward_model.path=./judge"],
    "data/json": ["data.json.path=train.jsonl"],
    "data/csv": ["data.csv.path=train.csv"],
    "data/parquet": ["data.parquet.path=train.parquet"],
    "data/text": ["data.text.path=train.txt"],
    "data/xml": ["data.xml.path=train.xml"],
    "data/conll": ["data.conll.path=train.conll"],
    "data/hub": ["data.hub.path=owner/name"],
    "data/sql": ["data.sql.path=train.sqlite"],
    "data/duckdb": ["data.duckdb.path=train.duckdb"],
    "data/logs": ["data.logs.path=requests.jsonl"],
    "evaluator/judge": ["+teacher=scripted", "teacher.scripted.answers=[yes]"],
    "evaluator/rubric": ["+teacher=scripted", "teacher.scripted.answers=[yes]"],
    "teacher/openai": ["teacher.openai.model=large", "teacher.openai.base_url=http://localhost:8000/v1"],
    "teacher/local": ["teacher.local.path=./large"],
    "teacher/scripted": ["teacher.scripted.answers=[yes]"],
    "model/hf": ["model.path=./model"],
    "optimizer/schedule_free": ["scheduler=constant"],
    "transform/semantic_dedup": ["transform.semantic_dedup.model=./embedder"],
    "transform/length": ["transform.length.max_characters=9"],
    "transform/select": ["transform.select.budget=9"],
    "transform/contextual": ["transform.contextual.model=./bert"],
    "transform/back_translation": ["transform.back_translation.forward=./there", "transform.back_translation.back=./b"],
    "synthetic/template": ["synthetic.template.grammar=helpdesk"],
    "strategy/distill": ["strategy.teacher=./large"],
}
"""Values without which a component refuses to compose."""


def cls_of(reference: str) -> type[Component]:
    return CATALOGUE.components[reference]


def source_file(cls: type) -> Path:
    return Path(inspect.getfile(cls))


def composed_with(reference: str) -> Any:
    """A config that chooses the component; `share` belongs to held-out sets."""
    group, name = reference.split("/")
    if reference == "data/share":
        return compose_config(["test=share"])
    sign = "+" if group in SEVERAL else ""
    return compose_config([f"{sign}{group}={name}", *NEEDS.get(reference, [])])


def test_every_group_that_the_first_version_promises_is_there() -> None:
    promised = {
        "model": {"hf", "tiny"},
        "data": {"json", "csv", "parquet", "text", "xml", "conll", "hub", "sql", "duckdb", "logs", "share"},
        "transform": {"exact_dedup", "length"},
        "synthetic": {"template"},
        "strategy": {"clm", "sft", "instruction", "dpo"},
        "adapter": {"full", "lora", "qlora", "ia3", "prefix", "prompt", "ptuning", "bottleneck", "freeze"}
        | {"gradual_unfreezing"},
        "evaluator": {"perplexity", "exact_match", "preference_accuracy"},
    }
    for group, names in promised.items():
        assert names <= set(CATALOGUE.options(group)), group
    assert CATALOGUE.failures == []
    assert CATALOGUE.collisions == []


@each
def test_is_a_keyword_only_dataclass_with_a_docstring(reference: str) -> None:
    cls = cls_of(reference)
    assert "__dataclass_params__" in cls.__dict__
    assert all(f.kw_only for f in dataclasses.fields(cls))
    assert "__slots__" not in cls.__dict__
    about = cls.__dict__.get("__doc__") or ""
    assert about, "no docstring"
    assert not about.startswith(f"{cls.__name__}("), "the docstring is the one that dataclass makes"
    assert about.strip().splitlines()[0].endswith(".")


@each
def test_every_field_has_a_text(reference: str) -> None:
    texts = field_texts(cls_of(reference))
    assert [f.name for f in dataclasses.fields(cls_of(reference)) if not texts.get(f.name)] == []


@each
def test_implements_what_its_kind_asks(reference: str) -> None:
    group = reference.split("/")[0]
    cls, base = cls_of(reference), KINDS[group]
    assert issubclass(cls, base)
    for method in REQUIRED_METHODS[group]:
        mine, theirs = getattr(cls, method), getattr(base, method)
        assert mine is not theirs
        assert list(inspect.signature(mine).parameters) == list(inspect.signature(theirs).parameters), method
        assert inspect.getdoc(mine), method


@each
def test_every_override_keeps_the_signature(reference: str) -> None:
    cls, base = cls_of(reference), KINDS[reference.split("/")[0]]
    for name, method in vars(cls).items():
        theirs = getattr(base, name, None)
        if inspect.isfunction(method) and inspect.isfunction(theirs) and not name.startswith("__"):
            assert list(inspect.signature(method).parameters) == list(inspect.signature(theirs).parameters), name


@each
def test_one_component_per_file_of_its_name(reference: str) -> None:
    group, name = reference.split("/")
    cls = cls_of(reference)
    file = source_file(cls)
    assert (file.parent.name, file.stem) == (group, name)
    module = importlib.import_module(cls.__module__)
    declared = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == cls.__module__]
    assert [c for c in declared if issubclass(c, Component)] == [cls]
    assert len(file.read_text(encoding="utf-8").splitlines()) < 300


@each
def test_a_config_holds_its_fields(reference: str) -> None:
    cls = cls_of(reference)
    node = OmegaConf.structured(cls)
    again = OmegaConf.merge(OmegaConf.structured(cls), OmegaConf.create(OmegaConf.to_yaml(node)))
    assert again == node
    assert OmegaConf.to_object(again) == OmegaConf.to_object(node)


@pytest.fixture(scope="module")
def default_run() -> Run:
    return tuneforge.compose()


@each
def test_check_gives_sentences(reference: str, default_run: Run) -> None:
    component = cls_of(reference)()
    reasons = list(component.check(default_run))
    assert all(isinstance(r, str) and r for r in reasons)


@each
def test_plugins_show_prints_yaml_with_each_field(reference: str) -> None:
    cls = cls_of(reference)
    text = show(reference, CATALOGUE)
    values = yaml.safe_load(text) or {}
    assert set(values) == {f.name for f in dataclasses.fields(cls)}
    merged = OmegaConf.merge(OmegaConf.structured(cls), OmegaConf.create(values))
    assert merged == OmegaConf.structured(cls), "the defaults shown are not the defaults"
    assert reference in text.splitlines()[0]
    assert str(CATALOGUE.owners[reference]) in text.splitlines()[0]
    texts = field_texts(cls)
    for field in dataclasses.fields(cls):
        assert texts[field.name].split()[0] in text


@each
def test_saved_run_door_gives_equal_objects(reference: str, tmp_path: Path) -> None:
    composed = composed_with(reference)
    assert reference in composed.types.values()
    saved.save(tmp_path, composed)
    run = saved.load(tmp_path)
    assert run == composed.run
    assert dict(run.components()).keys() == dict(composed.run.components()).keys()
    assert all(type(a) is type(b) for (_, a), (_, b) in zip(run.components(), composed.run.components(), strict=True))
    assert cls_of(reference) in {type(c) for _, c in run.components()}


@pytest.mark.parametrize("reference", [r for r in COMPONENTS if r.startswith("strategy/")])
def test_strategy_declares_known_records_and_evaluators(reference: str) -> None:
    cls = cls_of(reference)
    assert issubclass(cls, Strategy)
    assert cls.record in RECORDS
    assert cls.evaluators
    assert {f"evaluator/{e}" for e in cls.evaluators} <= CATALOGUE.components.keys()
    assert 0 < cls.learning_rate < 1


@pytest.mark.parametrize("reference", [r for r in COMPONENTS if r.startswith("evaluator/")])
def test_evaluator_declares_its_metrics(reference: str) -> None:
    cls = cls_of(reference)
    assert issubclass(cls, Evaluator)
    assert cls.metrics
    assert len({m.name for m in cls.metrics}) == len(cls.metrics)
    assert cls.record in RECORDS


def test_suffixes_belong_to_one_source_each() -> None:
    found = [s for ref, c in CATALOGUE.components.items() if ref.startswith("data/") for s in c.suffixes]  # type: ignore[attr-defined]
    assert len(found) == len(set(found))
    assert all(s.islower() and not s.startswith(".") for s in found)


def test_declaring_modules_import_nothing_heavy() -> None:
    code = (
        "import sys; from tuneforge import plugins; c = plugins.load();"
        "heavy = set('torch transformers lightning peft numpy pyarrow pandas hydra omegaconf rich'.split());"
        "print(len(c.components), sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split(maxsplit=1) == [str(len(COMPONENTS)), "[]\n"], done.stdout


@pytest.mark.parametrize("group", plugins.GROUPS)
def test_the_catalogue_of_one_group_offers_what_the_whole_one_does(group: str) -> None:
    assert plugins.load(group).options(group) == CATALOGUE.options(group)


def test_completing_the_names_of_a_group_imports_no_other() -> None:
    code = (
        "import sys; from tuneforge.completion import candidates; found = candidates('strategy=');"
        "others = ('tuneforge.transform.', 'tuneforge.data.', 'tuneforge.evaluator.');"
        "print('strategy=dpo' in found, [m for m in sys.modules if m.startswith(others)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "True []\n"


def test_every_key_of_run_has_a_text() -> None:
    def lacking(cls: type) -> list[str]:
        texts = field_texts(cls)
        own = [f"{cls.__name__}.{f.name}" for f in dataclasses.fields(cls) if not texts.get(f.name)]
        inner = [f.default_factory for f in dataclasses.fields(cls) if dataclasses.is_dataclass(f.default_factory)]
        return own + [name for c in inner if isinstance(c, type) for name in lacking(c)]

    assert lacking(Run) == []


@pytest.mark.parametrize("event", [RunStarted, StageFinished, RunFinished])
def test_events_name_run_and_folder(event: Any) -> None:
    assert {"run", "folder"} <= {f.name for f in dataclasses.fields(event)}
