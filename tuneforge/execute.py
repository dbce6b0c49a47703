"""A run, read from top to bottom: data → proof → baseline → train → evaluate → gate → report."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneforge import announce, plugins, ranks, record
from tuneforge.components import Evaluator
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError, GateFailed, PluginError
from tuneforge.exporting import export_all
from tuneforge.extras import refuse_absent
from tuneforge.process import quiet_libraries, terminable
from tuneforge.record import Record
from tuneforge.rows import HeldOut, Loaded, Row
from tuneforge.saving import save_model
from tuneforge.settings import Run

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from tuneforge.audit.checks import Audited
    from tuneforge.evaluation.baseline import Choice
    from tuneforge.evaluation.measure import Measured
    from tuneforge.evaluation.verdict import Verdict
    from tuneforge.preparation.prepare import Prepared
    from tuneforge.training.fit import Fitted
    from tuneforge.training.proof import Proof
    from tuneforge.training.text.encode import EncodedSet


@dataclass(frozen=True)
class Ready:
    """Everything that was proved before the first step."""

    prepared: Prepared
    found: Loaded
    """The model as found, which is the base."""
    loaded: Loaded
    """The model that trains: the same, unless a transform adapted it."""
    train: EncodedSet
    validation: EncodedSet | None
    proof: Proof
    evaluators: dict[str, Evaluator]
    sets: list[HeldOut]
    """The test sets that they measure."""


@dataclass(frozen=True)
class Base:
    """What was measured before training: the model as found with its best prompt, or a rule."""

    choice: Choice
    measured: Measured


def execute(run: Run, folder: Path, facts: Mapping[str, Any], *, only_check: bool = False) -> Record:
    """One run in the directory that holds its saved config; a report is written however it ends."""
    from tuneforge.evaluation import earlier

    refuse_absent(run.components())
    if run.gate.earlier_run:
        earlier.check(run.gate.earlier_run)
    with record.locked(folder), terminable():
        notes: list[dict[str, Any]] = []
        book = Record.start(run, folder, notes, **facts)
        context = RunContext(run, folder, notes=notes)
        if run.teacher:
            book.update(teachers=context.spent)
        try:
            with book.closing():
                quiet_libraries()
                ready = prove(run, context, book, only_check)
                if not only_check:
                    verdict = adapt(run, ready, context, book)
                    gate(run, verdict)
        finally:
            announce.teachers(context.spent)
            _report(folder)
    return book


def prove(run: Run, context: RunContext, book: Record, only_check: bool = False) -> Ready:
    """Everything before the first step; DataRefused where the data does not deserve one."""
    from tuneforge.audit import outcome
    from tuneforge.evaluation import gate_rules
    from tuneforge.evaluation.measure import default_evaluators
    from tuneforge.preparation import encoded, mixture, prepare
    from tuneforge.training import proof as proofs
    from tuneforge.training.optimise import planned_steps
    from tuneforge.training.text.encode import encode
    from tuneforge.training.text.held_out import askable, watched

    with book.stage("data"):
        earlier = outcome.read(context.folder) if run.resume else None
        prepared = prepare.prepare(run, context)
        prepare.write(prepared, context.folder)
        announce.data(prepared)
        prepare.refuse(run, prepared)
        audit(run, prepared, context, earlier, detailed=only_check)
        _same_data(run, context.folder, book, prepared)
    with book.stage("proof"):
        context.labels = run.strategy.labels(prepared.train)
        found = run.model.load(run.strategy.head, context)
        loaded = adapted(run, found, prepared, context)
        facts = {"head": run.strategy.head, "labels": list(context.labels), "learning_rate": run.learning_rate}
        book.update(model=announce.model(run, loaded), hardware=record.hardware(), **facts)
        train = encode(run, prepared.train, loaded.tokenizer, context)
        encoded.quarantine(train.rejected, context.folder)
        encoded.refuse(run, train.rejected, len(prepared.train))
        sets, odd = askable(run, prepared.held_out, found.tokenizer, context)
        encoded.held_out(run, prepared.held_out, odd, context)
        prepared = replace(prepared, held_out=sets)
        context.train, context.held_out = prepared.train, sets
        tests = [held for held in sets if held.split == "test"]
        chosen, notes = default_evaluators(run, tests, evaluators())
        for note in notes:
            context.note(note)
        gate_rules.check(run, chosen, tests)
        validation, odd = watched(run, prepared.held_out, loaded.tokenizer, context)
        encoded.held_out(run, prepared.held_out, odd, context, "have no validation loss")
        proof = proofs.prove(run, loaded, train, context)
        proofs.write(proof, train, context.folder)
        announce.proof(proof, train.rejected)
        epochs = proof.steps / planned_steps(run, proof.units)[0]
        mixed = mixture.encoded(prepared.mixture, train.by_source, epochs)
        prepare.write_mixture(mixed, context.folder)
        announce.mixture(mixed, proof.unit)
    return Ready(prepared, found, loaded, train, validation, proof, chosen, tests)


def adapted(run: Run, found: Loaded, prepared: Prepared, context: RunContext) -> Loaded:
    """The model and tokenizer that train: those found, unless a transform adapts them to the rows."""
    loaded = found
    for component in run.transform.values():
        loaded = component.adapt(loaded, prepared.train, prepared.held_out, context)
    return loaded


def audit(
    run: Run, prepared: Prepared, context: RunContext, earlier: Audited | None = None, *, detailed: bool = False
) -> None:
    """What the rows are like, sought once; DataRefused where `audit.fail_on` says so."""
    from tuneforge.audit import checks, outcome
    from tuneforge.audit.subject import Subject

    subject = Subject(run, prepared.train.distinct, prepared.held_out, context, prepared.sources)
    audited = earlier or checks.audit(subject)
    outcome.write(audited, context.folder)
    announce.findings(audited.findings, detailed)
    outcome.refuse(audited.findings, run.audit.fail_on)


def adapt(run: Run, ready: Ready, context: RunContext, book: Record) -> Verdict:
    """Baseline, training, evaluation: was it worth it?"""
    with book.stage("baseline"):
        base = measure_base(run, ready, context)
        announce.baseline(base.choice)
    with book.stage("train"):
        fitted = train(run, ready, context, book)
        announce.trained(fitted, ready.proof)
        book.update(training=_summary(fitted, ready.proof), tokens=fitted.tokens)
    with book.stage("evaluate"):
        verdict = judge(run, ready, base, fitted, context, book)
    if run.exporter:
        with book.stage("export"):
            book.update(exports=export_all(run, context.folder, run.exporter, context))
            announce.exported(book.content["exports"])
    return verdict


def measure_base(run: Run, ready: Ready, context: RunContext) -> Base:
    """What the tuned model is compared with on the test sets; a prompt is chosen on validation."""
    from tuneforge.evaluation import earlier
    from tuneforge.evaluation.contenders import contenders, placed
    from tuneforge.evaluation.measure import measure
    from tuneforge.evaluation.unable import Unable
    from tuneforge.evaluation.verdict import check_opponent

    prepared = ready.prepared
    variants, choice = contenders(run, ready.found, ready.evaluators, prepared.held_out, prepared.train, context)
    measured = measure(run, variants, ready.sets, ready.evaluators, context)
    placed(ready.found, "cpu")  # training shares it out itself
    check_opponent(run, measured)
    if run.gate.earlier_run:
        measured = earlier.joined(measured, run.gate.earlier_run)
    # Training needs the memory of a model that was asked beside the one that trains.
    return Base(replace(choice, lm=Unable(choice.lm.variant)), measured)


def train(run: Run, ready: Ready, context: RunContext, book: Record) -> Fitted:
    """The tuned model, saved as stock libraries load it; several devices train as processes of their own."""
    from tuneforge.training.fit import fit
    from tuneforge.training.optimise import device_count

    def give_up(text: str) -> None:
        sys.stderr.write(f"tuneforge: {text}\n")
        book.finish("failed", error=text)
        _report(context.folder)

    book.update(devices=device_count(run))
    proved = {name: getattr(ready.proof, name) for name in ("packed", "grouped", "micro")}
    decided = {"resume": run.resume, **proved, "batch_size": run.batch.size}
    with ranks.together(run, context.folder, decided, give_up):
        fitted = fit(
            run, ready.loaded, ready.train, ready.validation, ready.proof.packed, context, callbacks(run),
            grouped=ready.proof.grouped, micro=ready.proof.micro,
        )  # fmt: skip
    save_model(run, Loaded(fitted.model, ready.loaded.tokenizer), context.folder / "model")
    return fitted


def judge(run: Run, ready: Ready, base: Base, fitted: Fitted, context: RunContext, book: Record) -> Verdict:
    """The tuned model on the same rows, and the verdict: metrics.json, samples.jsonl."""
    from tuneforge.evaluation.confusion import confusions
    from tuneforge.evaluation.contenders import under_test
    from tuneforge.evaluation.curve_data import curves
    from tuneforge.evaluation.measure import PROMPTED, measure
    from tuneforge.evaluation.samples import write_samples
    from tuneforge.evaluation.slices import of_deciding
    from tuneforge.evaluation.verdict import decide, deciding, rows, write_metrics
    from tuneforge.report.table import result_table

    tuned = under_test("tuned", Loaded(fitted.model, ready.loaded.tokenizer), context)
    measured = base.measured.merge(measure(run, {"tuned": tuned}, ready.sets, ready.evaluators, context, base.measured))
    metrics = rows(run, measured)
    found = [asdict(one) for one in of_deciding(deciding(run, metrics), measured, context)]
    verdict = decide(run, metrics, base.choice.prompt, found)
    variants = {name: dict(facts) for name, facts in measured.variants.items()}
    beaten = PROMPTED if run.strategy.head == "causal_lm" else base.choice.lm.variant
    variants.setdefault(beaten, {}).update(base.choice.facts)
    drawn = {"confusions": confusions(measured, context), "slices": found, "curves": curves(measured)}
    write_metrics(context.folder, metrics, verdict, variants, **drawn)
    write_samples(context.folder, measured)
    passed = verdict.passes(run.gate.level)
    book.update(gate={"level": run.gate.level, "passed": passed}, verdict=asdict(verdict))
    table = result_table(read_metrics(context.folder))
    announce.slices(found)
    announce.result(table, verdict, f"{run.gate.level}: {'pass' if passed else 'fail'}")
    return verdict


def gate(run: Run, verdict: Verdict) -> None:
    """GateFailed, exit code 4, when the verdict does not pass."""
    if not verdict.passes(run.gate.level):
        raise GateFailed(f"gate={run.gate.level} failed: {'; '.join(verdict.objections(run.gate.level))}")


def fingerprint(rows: Sequence[Row]) -> str:
    """Hash over the training rows in order: equal for equal data."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.id.encode())
    return digest.hexdigest()[:16]


def _same_data(run: Run, folder: Path, book: Record, prepared: Prepared) -> None:
    """A resumed run must see the rows that it began with."""
    sets = {f"{held.split}.{held.name}": fingerprint(held.rows) for held in prepared.held_out}
    now = {"rows": len(prepared.train), "fingerprint": fingerprint(prepared.train), "sets": sets}
    before = book.content.get("data")
    if run.resume and before and before != now:
        raise ConfigError(
            f"resume={folder}: the data has changed since the run began ({before['rows']:,} training rows then, "
            f"{now['rows']:,} now, or other content); start a new run with --from {folder}"
        )
    book.update(data=now)


def evaluators() -> dict[str, type[Evaluator]]:
    """Every installed evaluator by name."""
    found = plugins.load().components.items()
    return {ref.split("/")[1]: cls for ref, cls in found if issubclass(cls, Evaluator)}


def callbacks(run: Run) -> list[Callback]:
    """What plugins add to training, in the order of their names; PluginError names the one that raises."""
    found: list[Callback] = []
    for implementation in plugins.load().manager.hook.tuneforge_callbacks.get_hookimpls():
        try:
            answer: Any = implementation.function(*(run for _ in implementation.argnames))
            found += answer
        except Exception as error:
            raise PluginError(f"plugin {implementation.plugin_name}: tuneforge_callbacks raised {error!r}") from error
    return found


def _summary(fitted: Fitted, proof: Proof) -> dict[str, Any]:
    """What training took, against its plan, for the record."""
    taken = (
        "steps", "seconds", "tokens", "loss_tokens", "skipped_windows", "best_step", "stopped_early", "resumed_from",
        "peak_memory",
    )  # fmt: skip
    planned = {"planned_seconds": proof.planned_seconds, "planned_memory": proof.memory["peak"]}
    return {name: getattr(fitted, name) for name in taken} | planned


def _report(folder: Path) -> None:
    from tuneforge.report.html import write_report

    write_report(folder)
    announce.closing(folder)


def read_metrics(folder: Path) -> dict[str, Any]:
    """metrics.json of a run directory."""
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
