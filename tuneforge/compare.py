"""`tuneforge evaluate`: only the evaluators, on model folders, adapters and runs, under one protocol."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tuneforge import announce, execute, plugins, record, saved, terminal
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.measuring import measuring
from tuneforge.process import quiet_libraries, terminable
from tuneforge.record import Record
from tuneforge.rows import HeldOut, Loaded
from tuneforge.settings import Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.components import LM, Model
    from tuneforge.evaluation.measure import Measured
    from tuneforge.model.brought import Origin
    from tuneforge.model.hf import Hf
    from tuneforge.preparation.prepare import Prepared


@dataclass(frozen=True)
class Candidate:
    """One model to evaluate: what it is called, its base, and its adapter if it has one."""

    name: str
    base: Model
    """Loads the whole model, or what the adapter stands on."""
    adapter: Origin | None = None

    @property
    def folder(self) -> Path:
        """Where its classes are named, if it has any."""
        return self.adapter.folder if self.adapter else Path(getattr(self.base, "path", "") or self.base.name)


def evaluate(paths: Sequence[str], overrides: Sequence[str], config_dirs: Sequence[str]) -> int:
    """Measure every model on the same rows; differences are against the first."""
    found = list(candidates(paths))
    composed = measuring(paths, overrides, config_dirs)
    run = dataclasses.replace(composed.run, name="evaluate", resume=None)
    folder = record.new_folder(run)
    saved.save(folder, composed)
    record.link_latest(folder)
    terminal.opening("evaluate", str(folder), latest=Path("outputs/latest").resolve() == folder.resolve())
    with record.locked(folder), terminable():
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
    from tuneforge.model.brought import BOTTLENECK_CONFIG, PEFT_CONFIG, Origin

    for index, path in enumerate(paths):
        folder, name = Path(path).expanduser(), _name(path, paths)
        after = Path(paths[index + 1] if index + 1 < len(paths) else "").expanduser()
        adapter = (folder / PEFT_CONFIG).is_file() or (folder / BOTTLENECK_CONFIG).is_file()
        if paths.count(path) > 1:
            raise ConfigError(f"evaluate {path}: is named {paths.count(path)} times")
        if adapter and after.name and (after / "config.json").is_file():
            yield Candidate(name, _model(str(after)), Origin(folder, None))
        elif adapter or (folder / "run.json").is_file():
            yield _brought(name, folder)
        elif folder.exists() and not (folder / "config.json").is_file():
            raise ConfigError(f"evaluate {path}: holds no run.json, adapter_config.json or config.json")
        else:
            yield Candidate(name, _model(path))


def _name(path: str, paths: Sequence[str]) -> str:
    """The last part of the path where that is unique."""
    short = Path(path).name
    return short if sum(Path(p).name == short for p in paths) == 1 else path


def _model(path: str) -> Model:
    """An installed model, a folder wherever it is seen from, or a hub name."""
    installed = plugins.load().components.get(f"model/{path}")
    folder = Path(path).expanduser()
    found: Any = installed() if installed else _hf(str(folder.resolve()) if folder.exists() else path)
    return cast("Model", found)


def _hf(path: str) -> Hf:
    from tuneforge.model.hf import Hf

    return Hf(path=path)


def _brought(name: str, folder: Path) -> Candidate:
    """A run or an adapter, which names its base."""
    from tuneforge.model.brought import find

    folder = folder.resolve()  # `outputs/latest` is about to name this evaluation
    try:
        origin = find(_hf(str(folder)))
    except ConfigError as error:
        text = str(error).removeprefix(f"model.path={folder}").removeprefix(":").strip()
        raise ConfigError(f"evaluate {folder}: {text}") from error
    if origin is None:
        raise ConfigError(f"evaluate {folder}: its config.yaml or types.json is gone, which say what the run left")
    base: Any = origin.base or _hf(str(origin.folder))
    path = str(getattr(base, "path", ""))
    if path and Path(path).expanduser().is_dir():
        base = dataclasses.replace(base, path=str(Path(path).expanduser().resolve()))
    return Candidate(name, base, origin if origin.base is not None else None)


def _no_rows(prepared: Prepared) -> str:
    """Why there is nothing to measure: no set, or none of whose rows can be used."""
    unused = [one for one in prepared.rejected if one.row.source.startswith("test.")]
    if not unused:
        return "evaluate: there is no test set; name one: test=test.jsonl"
    first = f"{unused[0].row.place}: {unused[0].reason}"
    return f"evaluate: no row of the test sets can be used, {len(unused):,} are quarantined, as {first}"


def _measure(run: Run, found: Sequence[Candidate], context: RunContext, book: Record) -> None:
    from tuneforge.evaluation.confusion import confusions
    from tuneforge.evaluation.curve_data import curves
    from tuneforge.evaluation.measure import default_evaluators, measure
    from tuneforge.evaluation.samples import write_samples
    from tuneforge.evaluation.tidy import rows
    from tuneforge.files import write_json
    from tuneforge.preparation import prepare
    from tuneforge.training.text import classes as training_classes

    quiet_libraries()
    with book.stage("data"):
        prepared = prepare.prepare(run, context)
        prepare.write(prepared, context.folder)
        announce.data(prepared)
    context.train, context.held_out = prepared.train, prepared.held_out
    sets = [held for held in prepared.held_out if held.split == "test" and held.rows]
    if not sets:
        raise ConfigError(_no_rows(prepared))
    evaluators, notes = default_evaluators(run, sets, execute.evaluators())
    for note in notes:
        context.note(note)
    measured = None
    if "classification" in run.strategy.head:
        context.labels = training_classes.names(name for candidate in found for name in _labels(candidate))
    with book.stage("libraries"):  # seconds that no model and no cache changes
        importlib.import_module("transformers.modeling_utils")
    with book.stage("evaluate"):
        for lm, tokenizer in _variants(found, context):
            if measured is None:
                sets = _askable(run, sets, tokenizer, context)
            one = measure(run, {lm.variant: lm}, sets, evaluators, context, measured)
            measured = one if measured is None else measured.merge(one)
    assert measured is not None
    measured = _in_order(measured, [candidate.name for candidate in found])
    pairs = [(other.name, found[0].name) for other in found[1:]]
    metrics = rows(run, measured, pairs=pairs)
    written = {"schema": 1, "rows": metrics, "variants": measured.variants}
    drawn = {"confusions": confusions(measured, context), "curves": curves(measured)}
    write_json(context.folder / "metrics.json", written | drawn)
    write_samples(context.folder, measured)
    _print(metrics)


def _in_order(measured: Measured, names: list[str]) -> Measured:
    """The variants as they were named, not as they shared a base."""
    cells = sorted(measured.cells.items(), key=lambda cell: names.index(cell[0][1]))
    variants = {name: measured.variants[name] for name in names if name in measured.variants}
    return dataclasses.replace(measured, cells=dict(cells), variants=variants)


def _labels(candidate: Candidate) -> Sequence[str]:
    """The classes that the model's own files name; none where it has none."""
    from tuneforge.training.text.classes import load_labels

    names = load_labels(candidate.folder).get("id2label") or {}
    return [names[i] for i in sorted(names)]


def _askable(run: Run, sets: Sequence[HeldOut], tokenizer: Tokenizer, context: RunContext) -> list[HeldOut]:
    """The sets without rows that no model with this head can be asked; how many is said."""
    from tuneforge.preparation import encoded
    from tuneforge.training.text.held_out import askable

    kept, odd = askable(run, sets, tokenizer, context)
    encoded.held_out(run, sets, odd, context)
    return kept


def _variants(found: Sequence[Candidate], context: RunContext) -> Iterator[tuple[LM, Tokenizer]]:
    """Each model in turn, those on one base together: it is loaded once, and again only where an adapter changed it."""
    from tuneforge.evaluation.contenders import placed, under_test
    from tuneforge.evaluation.memory import stamp

    together: dict[str, list[Candidate]] = {}
    for candidate in found:
        together.setdefault(repr((candidate.base, _own(candidate))), []).append(candidate)
    for group in together.values():
        base: Loaded | None = None
        for candidate in group:
            base = base or _load(candidate, context)
            if candidate.adapter is None:
                yield under_test(candidate.name, base, context), base.tokenizer
                continue
            as_found = stamp(base.model)
            loaded = _adapted(base, candidate.adapter, context)
            yield under_test(candidate.name, loaded, context), loaded.tokenizer
            base = _bare(base, loaded.model, as_found)
        if base is not None:
            placed(base, "cpu")  # the next one needs the room


def _own(candidate: Candidate) -> dict[str, Any]:
    """Classes and kind of problem that an adapter's files name."""
    from tuneforge.training.text.classes import load_labels

    return load_labels(candidate.folder) if candidate.adapter else {}


def _load(candidate: Candidate, context: RunContext) -> Loaded:
    """The model or an adapter's base, with the head of the run's strategy and the classes of its own files."""
    from tuneforge.evaluation.contenders import placed
    from tuneforge.training.devices.place import place

    own = _own(candidate)
    labels = _labels(candidate) if own else ()
    loaded = candidate.base.load(context.run.strategy.head, dataclasses.replace(context, labels=labels))
    if "problem_type" in own:
        loaded.model.config.problem_type = own["problem_type"]
    return placed(loaded, place(context.run))


def _adapted(base: Loaded, origin: Origin, context: RunContext) -> Loaded:
    """The adapter on its base, with the tokenizer and template that were saved with it."""
    from tuneforge.model.brought import as_it_is, has_tokenizer

    if not any(origin.folder.glob("*.safetensors")):
        raise ConfigError(f"evaluate {origin.folder}: holds no weights of the adapter (*.safetensors)")
    tokenizer = base.tokenizer
    if has_tokenizer(origin.folder):
        tokenizer = _hf(str(origin.folder)).tokenizer(origin.folder, context)
    try:
        return Loaded(as_it_is(base.model, origin), tokenizer)
    except (ValueError, RuntimeError, KeyError) as error:
        raise ConfigError(
            f"evaluate {origin.folder}: the adapter does not fit its base ({str(error).splitlines()[0]});"
            " a model folder that is named after an adapter is taken for its base"
        ) from error


def _bare(base: Loaded, adapted: Any, as_found: tuple[Any, ...]) -> Loaded | None:
    """The base without the adapter; None where it is no longer what was loaded."""
    from tuneforge.evaluation.memory import stamp

    inner: Any = getattr(adapted, "base_model", None)
    model = inner.unload() if hasattr(inner, "unload") else base.model
    return base._replace(model=model) if stamp(model) == as_found else None


def _print(metrics: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    differences = {(r["model"], r["set"], r["evaluator"], r["metric"]): r for r in metrics if r["versus"]}
    table = Table(box=None, padding=(0, 3, 0, 0))
    for heading in ("set", "metric", "n", "model", "value", *(["difference to the first"] if differences else [])):
        table.add_column(heading, no_wrap=True)
    told = {(r["set"], r["evaluator"], r["metric"]) for r in metrics if r["value"] is not None}
    shown = [r for r in metrics if not r["versus"] and r["split"] != "validation"]
    for row in (r for r in shown if (r["set"], r["evaluator"], r["metric"]) in told):
        other = differences.get((row["model"], row["set"], row["evaluator"], row["metric"]))
        cells = [row["set"], row["metric"], str(row["n"]), row["model"], _figure(row, False), _figure(other, True)]
        table.add_row(*cells[: len(table.columns)])
    terminal.console().print(table)


def _figure(row: dict[str, Any] | None, sign: bool) -> str:
    from tuneforge.evaluation.figures import with_interval

    return with_interval(row["value"], row["low"], row["high"], sign) if row else ""
