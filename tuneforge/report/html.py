"""report.html: one self-contained page from what a run directory holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuneforge.evaluation.figures import with_interval
from tuneforge.files import write_text
from tuneforge.report import answers, audit, charts, curves, files, learning, ticks

ROLES = ("target", "general", "safety")
KINDS = {"more of the same": "better", "enough": "better"}
"""How the word of a program looks; others look unsettled."""
LONGEST = 2000
"""Characters of one text that are shown; how many more there are is said."""


def write_report(folder: Path) -> Path:
    """Write report.html from run.json, metrics.json, data/, samples.jsonl, logs/ and config.yaml, as far as they exist.

    Replaced in one piece. Nothing in the page reaches for the network, and text from data is escaped.
    """
    page = render(files.read(folder))
    path = folder / "report.html"
    # A lone surrogate cannot be written as UTF-8; as a character reference browsers show it as unreadable.
    write_text(path, page.encode("utf-8", "xmlcharrefreplace").decode())
    return path


def render(run: files.RunFiles) -> str:
    """The page's HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tuneforge", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"shown": shown, "seconds": seconds, "count": count}
    template = environment.get_template("report.html.j2")
    return template.render(
        name=str((run.record.get("run") or {}).get("name") or run.folder.resolve().name),
        record=run.record,
        headline=headline(run),
        cost=cost(run),
        program=run.program,
        learning=learning.plot(run.program),
        panels=[] if run.record.get("program") else charts.panels(run.metrics),
        strips=[(role, found) for role in ROLES if (found := answers.columns(run.samples, run.metrics, role))],
        ticks=[] if run.record.get("program") else ticks.ticks(run),
        findings=audit.findings(run),
        audited=sum((run.audit.get("seconds") or {}).values()),
        commands=commands(run),
        plots=curves.plots(run.log),
        numbers=numbers(run),
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
    """Gate, time, memory, tokens: pairs of label and figure."""
    record, found = run.record, []
    if gate := record.get("gate"):
        found.append((f"gate {gate.get('level')}", "passed" if gate.get("passed") else "failed"))
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
    machine = record.get("hardware") or {}
    if machine:
        found.append(("on", ", ".join(machine.get("accelerators") or []) or f"{machine.get('cores')} CPU cores"))
    return found


def commands(run: files.RunFiles) -> list[tuple[str, str]]:
    """What to do next: those commands that this installation has."""
    from shlex import quote

    from tuneforge.cli import COMMANDS

    folder = quote(str((run.record.get("run") or {}).get("folder") or run.folder))
    found = [("run it again", f"tuneforge --from {folder}")]
    if run.record.get("status") == "preempted":
        found.insert(0, ("go on", f"tuneforge resume={folder}"))
    if (run.folder / "model").is_dir():
        wanted = {"evaluate": "measure it", "chat": "talk to it", "export": "export it"}
        found += [(text, f"tuneforge {name} {folder}") for name, text in wanted.items() if name in COMMANDS]
    return found


def numbers(run: files.RunFiles) -> list[dict[str, str]]:
    """metrics.json as a table: one line per number."""
    return [
        {
            "set": f"{row['split']}.{row['set']}",
            "role": row["role"],
            "metric": row["metric"] if row["metric"] == row["evaluator"] else f"{row['evaluator']}.{row['metric']}",
            "model": f"{row['model']} - {row['versus']}" if row["versus"] else row["model"],
            "stage": row.get("stage") or "",
            "value": with_interval(row["value"], row["low"], row["high"], sign=bool(row["versus"])),
            "n": count(row["n"]),
            "better": "higher" if row["higher_is_better"] else "lower",
        }
        for row in run.metrics.get("rows") or []
    ]


def shown(text: Any, longest: int = LONGEST) -> str:
    """Text without what a page cannot hold, cut at `longest` characters with a count of the rest."""
    whole = "".join(c if c in "\n\t" or c >= " " else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return whole if len(whole) <= longest else f"{whole[:longest]}… ({len(whole) - longest:,} more characters)"


def seconds(value: float) -> str:
    """`3.2 s`, `1 min 05 s`, `2 h 10 min`."""
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{int(value // 60)} min {int(value % 60):02d} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60):02d} min"


def count(value: Any) -> str:
    """`4,812`; a dash for nothing."""
    return f"{value:,}" if isinstance(value, int | float) else "-"
