"""Every hook, implemented by an installed distribution that knows nothing but public names.

`test_<hook>` stands here for each hook of `hookspecs`; tests/test_docs.py holds that.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

import tuneforge as api
from tests.plugins.workshop import Workshop, tuneforge
from tuneforge import plugins
from tuneforge.components import Component
from tuneforge.composition import compose_config
from tuneforge.errors import PluginError
from tuneforge.hookspecs import RunFinished, RunStarted, StageFinished, hookimpl
from tuneforge.kinds import KINDS, SEVERAL
from tuneforge.plugins import Catalogue
from tuneforge.record import Record


@pytest.fixture(scope="module")
def installed(workshop: Workshop) -> Path:
    """A folder with tuneforge-kitchen, which implements every hook."""
    return workshop.install("kitchen")


@pytest.fixture(scope="module")
def catalogue(installed: Path) -> Iterator[Catalogue]:
    """A catalogue of TuneForge's own entry point and the kitchen's."""
    plugins.load()  # the one of this process is made first, without the kitchen
    sys.path.insert(0, str(installed))
    own = [e for e in metadata.entry_points(group="tuneforge") if e.dist and e.dist.name == "tuneforge"]
    found = [e for d in metadata.distributions(path=[str(installed)]) for e in d.entry_points if e.group == "tuneforge"]
    yield plugins.build([*own, *found])
    sys.path.remove(str(installed))
    for name in [m for m in sys.modules if m.startswith("tuneforge_kitchen")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def finished(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a real run, all of whose parts are the kitchen's."""
    cwd = tmp_path_factory.mktemp("kitchen")
    tuneforge("experiment=kitchen", "output_dir=run", cwd=cwd, path=installed)
    return cwd / "run"


def chosen(group: str, catalogue: Catalogue) -> Component:
    """The object that `<group>=kitchen` puts into the run; the registered class is its type."""
    assert catalogue.failures == []
    assert str(catalogue.owners[f"{group}/kitchen"]) == "tuneforge-kitchen 1.2.3"
    run = compose_config([f"{group}=kitchen"], catalogue=catalogue).run
    value = getattr(run, group)
    component = value["kitchen"] if group in SEVERAL else value
    assert type(component) is catalogue.components[f"{group}/kitchen"]
    assert isinstance(component, KINDS[group])
    return component


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "kitchen.jsonl").read_text(encoding="utf-8").splitlines()]


def record(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return content


def test_tuneforge_model(catalogue: Catalogue) -> None:
    model: Any = chosen("model", catalogue)
    assert model.config()["model_type"] == "llama"


def test_tuneforge_data(catalogue: Catalogue) -> None:
    source: Any = chosen("data", catalogue)
    assert source.rows == 10
    run = compose_config(["data=kitchen", "test=kitchen", "data.kitchen.rows=3"], catalogue=catalogue).run
    assert (run.data["kitchen"].rows, run.test["kitchen"].rows) == (3, 10)  # type: ignore[attr-defined]


def test_tuneforge_transform(catalogue: Catalogue, finished: Path) -> None:
    chosen("transform", catalogue)
    assert "off the menu" in (finished / "data" / "audit.json").read_text(encoding="utf-8")


def test_tuneforge_synthetic(catalogue: Catalogue, finished: Path) -> None:
    chosen("synthetic", catalogue)
    audit = json.loads((finished / "data" / "audit.json").read_text(encoding="utf-8"))
    assert "kitchen" in json.dumps(audit)
    assert record(finished)["data"]["rows"] == 10 - 1 + 2


def test_tuneforge_teacher(catalogue: Catalogue) -> None:
    from tuneforge.rows import Request

    teacher: Any = chosen("teacher", catalogue)
    [(_, answer)] = teacher.complete([Request([{"role": "user", "content": "soup?"}])], None)
    assert answer.text == "soup?"


def test_tuneforge_strategy(catalogue: Catalogue, finished: Path) -> None:
    assert chosen("strategy", catalogue).check(api.compose()) == ()
    assert record(finished)["choices"]["strategy"] == "kitchen"


def test_tuneforge_adapter(catalogue: Catalogue, finished: Path) -> None:
    chosen("adapter", catalogue)
    assert (finished / "model" / "config.json").is_file()


def test_tuneforge_optimizer(catalogue: Catalogue, finished: Path) -> None:
    chosen("optimizer", catalogue)
    assert record(finished)["training"]["steps"] == 3


def test_tuneforge_scheduler(catalogue: Catalogue, finished: Path) -> None:
    chosen("scheduler", catalogue)
    rates = [line["learning_rate"] for line in logged(finished) if "learning_rate" in line]
    assert rates[1] == pytest.approx(rates[0] / 2)


def test_tuneforge_evaluator(catalogue: Catalogue, finished: Path) -> None:
    chosen("evaluator", catalogue)
    rows = json.loads((finished / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert {(r["evaluator"], r["metric"], r["n"]) for r in rows if r["model"] == "tuned"} == {("kitchen", "soup", 4)}


def test_tuneforge_program(catalogue: Catalogue) -> None:
    program: Any = chosen("program", catalogue)
    stages = program.stages(api.compose())
    assert [s.name for s in stages] == ["starter", "main"]
    assert program.next(stages, [{}]).model_from == "starter"


def test_a_stage_takes_the_model_of_an_earlier_one(installed: Path, tmp_path: Path) -> None:
    tuneforge("experiment=kitchen", "program=kitchen", "output_dir=run", cwd=tmp_path, path=installed)
    starter, main = (tmp_path / "run" / "stages" / name for name in ("1-starter", "2-main"))
    assert [s["name"] for s in record(tmp_path / "run")["stages"]] == ["starter", "main"]
    assert str(starter) in yaml.safe_load((main / "config.yaml").read_text(encoding="utf-8"))["model"]["path"]
    assert (record(starter)["seed"], record(main)["seed"]) == (1, 2)
    assert "1-starter" in record(main)["lineage"]["model"]


def test_tuneforge_logger(catalogue: Catalogue, finished: Path) -> None:
    chosen("logger", catalogue)
    assert all("train/loss" in line for line in logged(finished))


def logged(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "logs" / "kitchen.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_tuneforge_exporter(catalogue: Catalogue, tmp_path: Path) -> None:
    from torch.nn import Linear

    from tuneforge.rows import Loaded

    exporter: Any = chosen("exporter", catalogue)
    exporter.export(Loaded(Linear(1, 1), None), tmp_path / "out", None)  # type: ignore[arg-type]
    assert (tmp_path / "out" / "names.txt").read_text() == "weight\nbias"


def test_tuneforge_config_packages(catalogue: Catalogue) -> None:
    assert str(catalogue.owners["experiment/kitchen"]) == "tuneforge-kitchen 1.2.3"
    run = compose_config(["experiment=kitchen"], catalogue=catalogue).run
    assert {run.model.name, run.strategy.name, run.adapter.name, run.optimizer.name, run.scheduler.name} == {"kitchen"}


def test_tuneforge_callbacks(finished: Path) -> None:
    assert (finished / "batches.txt").read_text() == "kitchen 3"


def test_tuneforge_run_started(finished: Path) -> None:
    first = events(finished)[0]
    assert first == {"event": "started", "seed": 0, "record": True}


def test_tuneforge_stage_finished(finished: Path) -> None:
    stages = [e for e in events(finished) if e["event"] == "stage"]
    assert [e["stage"] for e in stages][:2] == ["data", "proof"]
    assert all(e["seconds"] >= 0 for e in stages)
    assert {e["stage"] for e in stages} >= {"train", "evaluate"}


def test_a_raising_event_hook_is_noted_and_the_run_goes_on(finished: Path) -> None:
    content = record(finished)
    assert content["status"] == "finished"
    notes = [n["text"] for n in content["notes"] if "on fire" in n["text"]]
    assert len(notes) == 1
    assert "tuneforge-kitchen" in notes[0]
    assert "tuneforge_stage_finished" in notes[0]


def test_tuneforge_run_finished(finished: Path) -> None:
    last = events(finished)[-1]
    assert last["event"] == "finished"
    assert last["status"] == "finished"
    assert last["verdict"] in ("better", "not proven", "worse")


@pytest.mark.parametrize("event", [RunStarted, StageFinished, RunFinished])
def test_events_are_frozen(event: type) -> None:
    assert event.__dataclass_params__.frozen  # type: ignore[attr-defined]


@contextmanager
def registered(plugin: object) -> Iterator[None]:
    """The plugin among those of this process, for a while."""
    manager = plugins.load().manager
    manager.register(plugin, name="guest")
    try:
        yield
    finally:
        manager.unregister(plugin)


def test_a_hook_may_leave_its_argument_out(tmp_path: Path) -> None:
    """As pluggy allows: a hook is given the arguments that it names."""
    from tuneforge.execute import callbacks

    class Plugin:
        called = 0

        @hookimpl
        def tuneforge_stage_finished(self) -> None:
            self.called += 1

        @hookimpl
        def tuneforge_callbacks(self) -> list[str]:
            return ["callback"]

    plugin = Plugin()
    with registered(plugin):
        book = Record(api.compose(), tmp_path, {"seconds": {}, "notes": []})
        with book.stage("data"):
            pass
        assert callbacks(api.compose()) == ["callback"]
    assert plugin.called == 1
    assert book.content["notes"] == []


def test_what_the_callbacks_hook_raises_is_a_plugin_error() -> None:
    from tuneforge.execute import callbacks

    class Plugin:
        @hookimpl
        def tuneforge_callbacks(self, run: object) -> list[str]:
            raise ValueError("no such callback")

    with registered(Plugin()), pytest.raises(PluginError, match="plugin guest: tuneforge_callbacks raised ValueError"):
        callbacks(api.compose())


def test_what_the_run_used_stands_in_its_record(finished: Path) -> None:
    assert any("tuneforge-kitchen" in str(p) for p in record(finished)["plugins"])
