"""`tuneforge evaluate`: only the evaluators, on model folders, adapters and runs, under one protocol."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge import announce, execute, record, saved, terminal
from tuneforge.composition import Composed, compose_config
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.record import Record
from tuneforge.rows import HeldOut, Loaded
from tuneforge.settings import Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.components import LM


@dataclass(frozen=True)
class Candidate:
    """One model to evaluate: what it is called, its base, and its adapter if it has one."""

    name: str
    base: str
    """Model folder or hub name, or the name of a model component."""
    adapter: str = ""


def evaluate(paths: Sequence[str], overrides: Sequence[str], config_dirs: Sequence[str]) -> int:
    """Measure every model on the same rows; differences are against the first."""
    found = list(candidates(paths))
    composed = _config(paths, overrides, config_dirs)
    run = dataclasses.replace(composed.run, name="evaluate", resume=None)
    folder = record.new_folder(run)
    saved.save(folder, composed)
    record.link_latest(folder)
    terminal.opening("evaluate", str(folder), latest=Path("outputs/latest").resolve() == folder.resolve())
    with record.locked(folder):
        notes: list[dict[str, Any]] = []
        facts = {
            "command": "evaluate",
            "models": list(paths),
            "overrides": list(overrides),
            "choices": composed.choices,
        }
        book = Record.start(run, folder, notes, **facts)
        with book.closing():
            context = RunContext(run, folder, notes=notes)
            if run.teacher:
                book.update(teachers=context.spent)
            try:
                _measure(run, found, context, book)
            finally:
                announce.teachers(context.spent)
    terminal.say("metrics", f"{folder}/metrics.json")
    return 0


def candidates(paths: Sequence[str]) -> Iterator[Candidate]:
    """What each path is; an adapter takes the model folder after it as its base, which is measured too."""
    for index, path in enumerate(paths):
        folder = Path(path).expanduser()
        name = _name(path, paths)
        if (folder / "run.json").is_file():
            yield _of_run(name, folder)
        elif (folder / "adapter_config.json").is_file():
            after = paths[index + 1] if index + 1 < len(paths) else ""
            base = after if (Path(after).expanduser() / "config.json").is_file() and after else _base_of(folder)
            yield Candidate(name, base, str(folder))
        elif folder.exists() and not (folder / "config.json").is_file():
            raise ConfigError(f"evaluate {path}: holds no run.json, adapter_config.json or config.json")
        else:
            yield Candidate(name, str(folder) if folder.exists() else path)


def _name(path: str, paths: Sequence[str]) -> str:
    """The last part of the path where that is unique."""
    short = Path(path).name
    return short if sum(Path(p).name == short for p in paths) == 1 else path


def _of_run(name: str, folder: Path) -> Candidate:
    model = folder.resolve() / "model"  # `outputs/latest` is about to name this evaluation
    if not model.is_dir():
        status = record.read_record(folder)["status"]
        raise ConfigError(f"evaluate {folder}: the run left no model; its status is {status}")
    if (model / "adapter_config.json").is_file():
        return Candidate(name, _base_of(model), str(model))
    return Candidate(name, str(model))


def _base_of(adapter: Path) -> str:
    base = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise ConfigError(f"evaluate {adapter}: the adapter does not name its base; name it after the adapter")
    return str(base)


def _config(paths: Sequence[str], overrides: Sequence[str], config_dirs: Sequence[str]) -> Composed:
    """The config of the first run among the paths, unless overrides say what to measure."""
    runs = [Path(p).expanduser() for p in paths if (Path(p).expanduser() / "run.json").is_file()]
    if runs and not overrides:
        config, types = saved.load_config(runs[0])
        config.output_dir = None
        return Composed(config, dict(types), record.read_record(runs[0]).get("choices", {}), [])
    composed = compose_config(overrides, config_dirs=config_dirs)
    if runs and not any(o.startswith("strategy=") for o in overrides):
        config, types = saved.load_config(runs[0])
        composed.config.strategy = config.strategy
        composed.types["strategy"] = types["strategy"]
    return composed


def _measure(run: Run, found: Sequence[Candidate], context: RunContext, book: Record) -> None:
    from tuneforge.evaluation.confusion import confusions
    from tuneforge.evaluation.measure import default_evaluators, measure
    from tuneforge.evaluation.samples import write_samples
    from tuneforge.evaluation.tidy import rows
    from tuneforge.files import write_json
    from tuneforge.preparation import prepare
    from tuneforge.training.text import classes as training_classes

    execute.quiet_libraries()
    with book.stage("data"):
        prepared = prepare.prepare(run, context)
        prepare.write(prepared, context.folder)
        announce.data(prepared)
    context.train, context.held_out = prepared.train, prepared.held_out
    sets = [held for held in prepared.held_out if held.split == "test" and held.rows]
    if not sets:
        raise ConfigError("evaluate: there is no test set; name one: test=test.jsonl")
    evaluators, notes = default_evaluators(run, sets, execute.evaluators())
    for note in notes:
        context.note(note)
    measured = None
    if "classification" in run.strategy.head:
        context.labels = training_classes.names(name for candidate in found for name in _labels(candidate))
    with book.stage("evaluate"):
        for lm, tokenizer in _variants(found, context):
            if measured is None:
                sets = _askable(run, sets, tokenizer, context)
            one = measure(run, {lm.variant: lm}, sets, evaluators, context, measured)
            measured = one if measured is None else measured.merge(one)
    assert measured is not None
    pairs = [(other.name, found[0].name) for other in found[1:]]
    metrics = rows(run, measured, pairs=pairs)
    written = {"schema": 1, "rows": metrics, "variants": measured.variants}
    write_json(context.folder / "metrics.json", written | {"confusions": confusions(measured, context)})
    write_samples(context.folder, measured)
    _print(metrics)


def _labels(candidate: Candidate) -> Sequence[str]:
    """The classes that the model's own files name; none where it has none."""
    from tuneforge.training.text.classes import load_labels

    names = load_labels(Path(candidate.adapter or candidate.base).expanduser()).get("id2label") or {}
    return [names[i] for i in sorted(names)]


def _askable(run: Run, sets: Sequence[HeldOut], tokenizer: Tokenizer, context: RunContext) -> list[HeldOut]:
    """The sets without rows that no model with this head can be asked; how many is said."""
    from tuneforge.preparation import encoded
    from tuneforge.training.text.held_out import askable

    kept, odd = askable(run, sets, tokenizer, context)
    encoded.held_out(run, sets, odd, context)
    return kept


def _variants(found: Sequence[Candidate], context: RunContext) -> Iterator[tuple[LM, Tokenizer]]:
    """Each model in turn; a base that the next one shares is loaded once."""
    from tuneforge.evaluation.contenders import under_test

    loaded: dict[str, Loaded] = {}
    for candidate in found:
        if candidate.base not in loaded:
            loaded = {candidate.base: _load(candidate, context)}
        model, tokenizer = loaded[candidate.base]
        if candidate.adapter:
            model = _adapted(loaded.pop(candidate.base), candidate.adapter)
        yield under_test(candidate.name, Loaded(model, tokenizer), context), tokenizer


def _load(candidate: Candidate, context: RunContext) -> Loaded:
    """The model or an adapter's base, with the head of the run's strategy and the classes of its own files."""
    from tuneforge.training.text.classes import load_labels

    own = load_labels(Path(candidate.adapter)) if candidate.adapter else {}
    labels = _labels(candidate) if own else ()
    loaded = context.model(candidate.base).load(context.run.strategy.head, dataclasses.replace(context, labels=labels))
    if "problem_type" in own:
        loaded.model.config.problem_type = own["problem_type"]
    return loaded


def _adapted(base: Loaded, adapter: str) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(base.model, adapter)


def _print(metrics: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 3, 0, 0))
    for heading in ("set", "metric", "n", "model", "value", "difference to the first"):
        table.add_column(heading, no_wrap=True)
    differences = {(r["model"], r["set"], r["evaluator"], r["metric"]): r for r in metrics if r["versus"]}
    for row in (r for r in metrics if not r["versus"] and r["split"] != "validation"):
        other = differences.get((row["model"], row["set"], row["evaluator"], row["metric"]))
        cells = [_figure(row, False), _figure(other, True)]
        table.add_row(row["set"], row["metric"], str(row["n"]), row["model"], *cells)
    terminal.console().print(table)


def _figure(row: dict[str, Any] | None, sign: bool) -> str:
    from tuneforge.evaluation.figures import with_interval

    return with_interval(row["value"], row["low"], row["high"], sign) if row else ""
