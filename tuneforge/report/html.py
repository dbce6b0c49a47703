"""report.html: one self-contained page from what a run directory holds."""

from __future__ import annotations

from pathlib import Path

from tuneforge.evaluation import gate_rules
from tuneforge.report import (
    answers,
    audit,
    charts,
    confusion,
    curves,
    diagrams,
    every_row,
    files,
    learning,
    numbers,
    page,
    slices,
    ticks,
)
from tuneforge.report.page import count, seconds

ROLES = ("target", "general", "safety")
KINDS = {"more of the same": "better", "enough": "better"}
"""How the word of a program looks; others look unsettled."""


RULE_KINDS = {
    "broken": "wrong", "not met": "wrong", "not measured": "wrong",
    "not settled": "look", "met": "right", "kept": "right",
}  # fmt: skip
"""How the states of the gate's rules look, in the order in which they stand."""


def write_report(folder: Path) -> Path:
    """Write report.html from run.json, metrics.json, data/, samples.jsonl, logs/ and config.yaml, as far as they exist.

    Replaced in one piece. Nothing in the page reaches for the network, and text from data is escaped.
    """
    return page.write(folder / "report.html", render(files.read(folder)))


def render(run: files.RunFiles) -> str:
    """The page's HTML."""
    rows = run.metrics.get("rows") or []
    return page.render(
        "report.html.j2",
        name=str((run.record.get("run") or {}).get("name") or run.folder.resolve().name),
        record=run.record,
        headline=headline(run),
        cost=cost(run),
        gate=run.record.get("gate"),
        rules=rules(run),
        program=run.program,
        learning=learning.plot(run.program),
        panels=[] if run.record.get("program") else charts.panels(run.metrics),
        strips=[(role, found) for role in ROLES if (found := answers.columns(run.samples, run.metrics, role))],
        ticks=[] if run.record.get("program") else ticks.ticks(run),
        findings=audit.findings(run),
        audited=sum((run.audit.get("seconds") or {}).values()),
        commands=commands(run),
        plots=curves.plots(run.log),
        slices=slices.lines(run.metrics.get("slices") or []),
        slices_total=len(run.metrics.get("slices") or []),
        matrices=confusion.matrices(run.metrics.get("confusions") or []),
        diagrams=diagrams.diagrams(run.metrics.get("curves") or []),
        changes=numbers.changes(run.metrics),
        numbers=numbers.numbers(rows),
        unseen=max(len(rows) - numbers.MOST, 0),
        every=every_row.every_row(run.samples, run.metrics),
        cut=len(run.samples) >= files.MOST_SAMPLES,
        sources=run.audit.get("sources") or [],
        mixture=run.audit.get("mixture") or [],
        transforms=run.audit.get("transforms") or [],
        variants=run.metrics.get("variants") or {},
        hints=(run.metrics.get("verdict") or {}).get("hints") or [],
        preview=run.preview[:20],
        config=run.config,
        notes=[note.get("text", "") for note in run.record.get("notes") or [] if isinstance(note, dict)],
        damaged=run.damaged,
    )


def headline(run: files.RunFiles) -> dict[str, str]:
    """The verdict in one sentence, or how the run ended without one."""
    verdict = run.metrics.get("verdict")
    status = str(run.record.get("status") or "unknown")
    error = str(run.record.get("error") or "")
    if run.program and status in ("finished", "running"):
        kind = KINDS.get(str(run.program.get("decision")), "not-proven")
        return {"word": str(run.program.get("decision")), "kind": kind, "text": str(run.program.get("text"))}
    if verdict and status in ("finished", "running", "unknown"):
        decision = str(verdict.get("decision"))
        return {"word": decision, "kind": decision.replace(" ", "-"), "text": str(verdict.get("reason"))}
    if status == "refused":
        return {"word": "data refused", "kind": "worse", "text": error}
    if status == "preempted":
        return {"word": "stopped", "kind": "not-proven", "text": error or "a checkpoint was written; it can be resumed"}
    if status == "failed":
        return {"word": "failed", "kind": "worse", "text": error}
    if status == "finished":
        text = "everything before the first step; nothing was trained"
        return {"word": "checked", "kind": "not-proven", "text": text}
    return {"word": status, "kind": "not-proven", "text": "there is no verdict yet"}


def cost(run: files.RunFiles) -> list[tuple[str, str]]:
    """Time, memory, tokens: pairs of label and figure."""
    record, found = run.record, []
    taken = record.get("seconds") or {}
    total = taken.get("all") or sum(v for v in taken.values() if isinstance(v, int | float))
    if total:
        found.append(("in all", seconds(total)))
    training = record.get("training") or {}
    if training.get("seconds") is not None:
        planned = training.get("planned_seconds")
        text = seconds(training["seconds"])
        found.append(("training", f"{text}, planned {seconds(planned)}" if planned else text))
        best = ", stopped early" * bool(training.get("stopped_early"))
        best = (f", best {count(training['best_step'])}" if training.get("best_step") else "") + best
        found.append(("steps", count(training.get("steps")) + best))
        unit = (run.audit.get("proof") or {}).get("unit", "tokens")
        found.append(("loss tokens" if unit == "tokens" else f"{unit} trained", count(training.get("loss_tokens"))))
    if record.get("peak_memory_bytes"):
        found.append(("peak memory", f"{record['peak_memory_bytes'] / 2**30:.1f} GiB"))
    spent = [one for one in (record.get("teachers") or {}).values() if isinstance(one, dict)]
    if spent:
        asked = f"{count(sum(int(one.get('requests') or 0) for one in spent))} requests"
        dollars = sum(float(one.get("cost") or 0) for one in spent)
        found.append(("teachers", f"{asked}, {dollars:.2f} US dollars" if dollars else asked))
    machine = record.get("hardware") or {}
    if machine:
        found.append(("on", ", ".join(machine.get("accelerators") or []) or f"{machine.get('cores')} CPU cores"))
    return found


def rules(run: files.RunFiles) -> list[tuple[str, list[dict[str, str]]]]:
    """What became of each rule of the gate, in words and with the colours that it wears, by state: the worst first."""
    found: dict[str, list[dict[str, str]]] = {state: [] for state in RULE_KINDS}
    for one in (run.metrics.get("verdict") or {}).get("rules") or []:
        state = str(one.get("state"))
        said = {"found": gate_rules.measured(one), "kind": RULE_KINDS.get(state, "")}
        found.setdefault(state, []).append({key: str(one.get(key) or "") for key in ("rule", "key")} | said)
    return [(state, lines) for state, lines in found.items() if lines]


def commands(run: files.RunFiles) -> list[tuple[str, str]]:
    """What to do next."""
    from shlex import quote

    folder = quote(str((run.record.get("run") or {}).get("folder") or run.folder))
    found = [("run it again", f"tuneforge --from {folder}")]
    if run.record.get("status") == "preempted":
        found.insert(0, ("go on", f"tuneforge resume={folder}"))
    if (run.folder / "model").is_dir():
        found += [("measure it", f"tuneforge evaluate {folder}"), ("export it", f"tuneforge export {folder}")]
        found.append(("compare it", f"tuneforge compare {folder} OTHER"))
    return found
