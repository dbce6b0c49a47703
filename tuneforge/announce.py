"""What each step of a run says when it is done."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuneforge import terminal
from tuneforge.evaluation.figures import figure, with_interval
from tuneforge.preparation import mixture as mixing
from tuneforge.settings import Run
from tuneforge.terminal import heading, say, seconds, size

if TYPE_CHECKING:
    from pathlib import Path

    from tuneforge.audit.finding import Finding
    from tuneforge.evaluation.baseline import Choice
    from tuneforge.evaluation.verdict import Verdict
    from tuneforge.preparation.mixture import Part
    from tuneforge.preparation.prepare import Prepared
    from tuneforge.preparation.transforming import TransformReport
    from tuneforge.rows import Loaded, Rejected
    from tuneforge.training.fit import Fitted
    from tuneforge.training.proof import Proof

ROWS = 3
"""Rows that `tuneforge check` shows for each warning."""
CAUSES = {"coverage": "the training rows hold little like it", "volume": "the training rows hold its share of it"}
STYLES = {"better": "bold green", "not proven": "bold yellow", "worse": "bold red"}


def data(prepared: Prepared) -> None:
    """Sources and transforms."""
    terminal.sources(prepared.sources)
    transforms(prepared.transforms)
    if mixed := mixing.said(prepared.mixture):
        say("mixture", f"{mixed}; {len(prepared.train):,} rows per epoch")


def transforms(reports: Sequence[TransformReport]) -> None:
    """One line for each that dropped, changed, added or counted something; one for all others."""
    for report in reports:
        if not report.idle:
            say("transform", f"{_transform(report)}  {report.before:,} rows: {_done(report)}  {report.seconds:.1f} s")
    idle = [_transform(report) for report in reports if report.idle]
    if idle:
        say("transform", f"every row left as it is by {', '.join(idle)}")


def _transform(report: TransformReport) -> str:
    return report.name if report.set == "train" else f"{report.name} on {report.set}"


def _done(report: TransformReport) -> str:
    """`14 dropped (14 duplicate), 200 changed; quotes 69, white space 153`."""
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in report.reasons.items())
    done = {"changed": report.changed, "added": report.added, "labelled": report.labelled}
    parts = [f"{sum(report.reasons.values()):,} dropped ({reasons})"] if reasons else []
    parts += [f"{n:,} {what}" for what, n in done.items() if n]
    counted = ", ".join(f"{what} {n:,}" for what, n in report.counts.items())
    return "; ".join(filter(None, (", ".join(parts), counted)))


def mixture(found: Sequence[Part], unit: str) -> None:
    """What each source brings into the loss, and how often its rows are seen in the whole run."""
    if mixing.said(found):
        of = ", ".join(f"{p.source} {p.loss_share:.1%}, {p.passes:.3g} passes" for p in found)
        say("mixture", f"share of the loss's {unit} and passes in the whole run: {of}")


def findings(found: Sequence[Finding], detailed: bool = False) -> None:
    """What the audit warns of, and what it looked at in vain; detailed: with the first rows and what to do."""
    styles = {"warning": "yellow", "error": "red"}
    for one in sorted(found, key=lambda f: f.severity != "error"):
        if one.severity not in styles:
            continue
        first = f"  ({one.rows[0].place})" if one.rows and not detailed else ""
        say("audit", f"{one.check}: {one.text}{first}", styles[one.severity])
        if detailed:
            for row in one.rows[:ROWS]:
                say("", f"  {row.place}  {_short(row.text)}")
            if one.action:
                say("", f"  {one.action}")
    warned = {one.check for one in found if one.severity in styles}
    for one in found:
        if one.check == "leakage" and one.severity == "ok":
            say("leakage", one.text)
    quiet = dict.fromkeys(one.check for one in found if one.check not in warned)
    if quiet:
        say("audit", f"nothing to mend: {', '.join(quiet)}")


def model(run: Run, loaded: Loaded) -> str:
    """The model's size, what trains it; returned for the record too."""
    size = sum(p.numel() for p in loaded.model.parameters())
    kind = str(next(loaded.model.parameters()).dtype).removeprefix("torch.")
    path = getattr(run.model, "path", "") or run.model.name
    text = (
        f"{path}   {_millions(size)} parameters, {kind}     strategy {run.strategy.name}   adapter {run.adapter.name}"
    )
    say("model", text)
    return text


def defaults(run: Run, notes: Sequence[str]) -> None:
    """What the user did not ask for, and gets."""
    chosen = list(notes)
    if run.optimizer.learning_rate is None:
        tasks = getattr(run.strategy, "tasks", {}).items()
        rates = ", ".join(f"{key} {task.learning_rate:g}" for key, task in tasks)
        least = f", the smallest of {rates}" if rates else ""
        factors = [f"{run.strategy.name} {run.strategy.learning_rate:g}{least}"]
        parts = [part for part in (run.adapter, run.model) if part.learning_rate_factor != 1]
        factors += [f"{part.name} {part.learning_rate_factor:g}" for part in parts]
        chosen.append(f"optimizer.learning_rate={run.learning_rate:g} ({' x '.join(factors)})")
    limit = "max_epochs" if run.trainer.max_steps < 1 else "max_steps"
    chosen.append(f"trainer.{limit}={getattr(run.trainer, limit)}")
    say("in force", "  ".join(chosen))


def proof(proof: Proof, rejected: Sequence[Rejected]) -> None:
    """Where the loss is, whether turns end, how full packs are, what it will cost."""
    heading("Proof")
    speed = f", {proof.packing_speed:.2f} x the speed of rows grouped by length" if proof.packing_speed else ""
    packing = f"packing {proof.fill:.1%} full{speed}" if proof.packed else f"no packing: {proof.packing_reason}"
    stop = f"; stop token {proof.stop_token} trained in {proof.stop_trained:,} of {proof.texts:,} rows"
    ended = stop if proof.generates else ""
    say("mask", f"{_loss(proof)}{ended}; {len(rejected):,} rows quarantined, 0 truncated; {packing}")
    if proof.classes:
        say("classes", _classes(proof))
    for shown in proof.preview[:1]:
        legend = f"      [[ ]] = {shown.get('marks', 'loss')}" if "[[" in shown["text"] else ""
        say("row", f"{shown['place']}  {_short(shown['text'])}{legend}")
    say(
        "plan",
        f"{proof.steps:,} steps x {proof.seconds_per_step:.3f} s = {seconds(proof.planned_seconds)} of training;"
        f" {_memory(proof)}; {_batches(proof)}",
    )


def _memory(proof: Proof) -> str:
    """`memory 9.1 GiB of 139 GiB, 2.0 GiB of it other models`."""
    free, others = proof.memory["available"], proof.memory["others"]
    beside = f", {size(others)} of it other models" if others else ""
    return f"memory {size(proof.memory['peak'])}" + (f" of {size(free)}" if free else "") + beside


def _batches(proof: Proof) -> str:
    """How full batches are, and whether they are cut."""
    cut = f", {proof.micro} at a time" if proof.micro < proof.memory["size"] else ""
    return f"padding {proof.padding:.0%}{', grouped by length' if proof.grouped else ''}{cut}"


def _loss(proof: Proof) -> str:
    if proof.unit == "completions":
        return f"loss on {proof.loss_tokens:,} completions to be sampled per epoch; prompts of {proof.tokens:,} tokens"
    if proof.unit != "tokens":
        return f"loss on {proof.loss_tokens:,} {proof.unit}, {proof.tokens:,} tokens"
    return f"loss on {proof.loss_share:.1%} of {proof.tokens:,} tokens"


def _classes(proof: Proof) -> str:
    """How many there are and how unevenly; the most frequent by name."""
    counts = list(proof.classes.values())
    of = "words per tag" if proof.unit == "tokens" else "rows per class"
    spread = f"{min(counts):,}, {statistics.median(counts):,.0f} and {max(counts):,} {of} (least, median, most)"
    names = ", ".join(f"{name} {count:,}" for name, count in list(proof.classes.items())[:3])
    return f"{len(counts)}: {spread}; most frequent {names}"


def baseline(choice: Choice) -> None:
    """The prompt or rule that the tuned model has to beat."""
    heading("Baseline", choice.reason)


def trained(fitted: Fitted, proof: Proof) -> None:
    """What training took, against the plan."""
    took = f"{fitted.steps:,} steps in {seconds(fitted.seconds)}"
    after = f"resumed after step {fitted.resumed_from}"
    planned = after if fitted.resumed_from else f"planned {seconds(proof.planned_seconds)}"
    if fitted.peak_memory and not fitted.resumed_from:
        peak = proof.memory["peak"]
        planned += f"; memory {size(fitted.peak_memory)}, planned {size(peak)} ({peak / fitted.peak_memory - 1:+.0%})"
    skipped = f"; {fitted.skipped_windows} steps skipped: no loss in them" if fitted.skipped_windows else ""
    heading("Trained", f"{took}, {planned}; {fitted.loss_tokens:,} loss-carrying {proof.unit}{skipped}")


def slices(found: Sequence[Mapping[str, Any]]) -> None:
    """Where the tuned model is proven weak or worse than before, the first of each set."""
    for name in dict.fromkeys(one["set"] for one in found):
        here = [one for one in found if one["set"] == name]
        weak, worse = ([one for one in here if one[kind]] for kind in ("weak", "worse"))
        if weak:
            one = weak[0]
            cause = f": {CAUSES[one['verdict']]}" if one["verdict"] else ""
            say("weakest", f"{name}, {_slice(one)}, tuned {figure(one['tuned'])}{cause}{_others(weak)}")
        if worse:
            one = max(worse, key=lambda one: abs(one["value"] or 0.0))
            change = with_interval(one["value"], one["low"], one["high"], sign=True)
            say("lost", f"{name}, {_slice(one)}, {one['metric']} {change} against {one['versus']}{_others(worse)}")


def _slice(one: Mapping[str, Any]) -> str:
    return f"{one['by']} '{_short(one['name'], 60)}' (n={one['n']})"


def _others(found: Sequence[Any]) -> str:
    more = len(found) - 1
    return f"; {more} more slice{'s' * (more > 1)} in the report" if more else ""


def result(table: Any, verdict: Verdict, gate: str) -> None:
    """The table of results, the verdict and what the gate says of it."""
    if table.row_count:
        terminal.console().print(table)
    for hint in verdict.hints:
        say("", hint)
    heading(f"Verdict {verdict.decision.upper()}", f"{verdict.reason}      gate {gate}", STYLES[verdict.decision])


def exported(found: Sequence[Mapping[str, Any]]) -> None:
    """Where each form lies, and how far it is from the tuned model."""
    for one in found:
        apart = one["reloaded"]
        said = "not compared: it cannot be loaded here"
        if apart is not None:
            said = f"loaded again: largest difference {apart['largest']:.3g} ({apart['relative']:.2g} of the largest"
            said += f" output, allowed {one['tolerance']:g}), {apart['agreement']:.1%} same first choice"
        say("export", f"{one['folder']}   {said}")


def teachers(spent: Mapping[str, Mapping[str, float]]) -> None:
    """What each teacher was asked in this run, and what it took."""
    for name, numbers in spent.items():
        anew = numbers["requests"] - numbers["from_store"]
        failed = f", {numbers['errors']:,} without an answer" if numbers["errors"] else ""
        tokens = f"{numbers['prompt_tokens']:,} tokens read, {numbers['tokens']:,} written"
        cost = f", {numbers['cost']:.4f} US dollars" if numbers["cost"] else ""
        say("teacher", f"{name}  {anew:,} requests asked, {numbers['from_store']:,} known{failed}  {tokens}{cost}")


def closing(folder: Path) -> None:
    """Where the report and the model are, and what to do next."""
    if (folder / "report.html").exists():
        model = f"      model  {folder}/model" if (folder / "model").exists() else ""
        say("report", f"{folder}/report.html{model}")
    if (folder / "model").exists():
        say("next", f"tuneforge evaluate {folder}  |  tuneforge --from {folder} seed=1")


def _short(text: str, limit: int = 300) -> str:
    shown = text.replace("\n", "\\n")
    return shown if len(shown) <= limit else f"{shown[: limit // 2]} … {shown[-limit // 2 :]}"


def _millions(count: int) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1e6 else f"{count / 1e3:,.0f} K"
