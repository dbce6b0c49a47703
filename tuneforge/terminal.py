"""What a run says on the terminal. Plain lines without a TTY; text from data is never markup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from tuneforge import __version__
from tuneforge.errors import printable


def console() -> Console:
    """Standard output; wide where it is no terminal, so that logs are not folded."""
    plain = Console(highlight=False, soft_wrap=True)
    return plain if plain.is_terminal else Console(highlight=False, soft_wrap=True, width=200)


def say(label: str, text: str, style: str = "") -> None:
    """One line: a label of eleven columns, then text."""
    line = Text.assemble("  ", (f"{label:<11}", "bold"), (printable(text), style))
    console().print(line)


def heading(text: str, detail: str = "", style: str = "bold") -> None:
    """A heading at the margin."""
    console().print(Text.assemble((text, style), "  ", printable(detail)))


def opening(name: str, folder: str, latest: bool) -> None:
    """The first line of a run."""
    console().print(
        Text.assemble(
            (f"TuneForge {__version__}", "bold"), f"  run {name}  {folder}", "  (= outputs/latest)" if latest else ""
        )
    )


def sources(reports: Sequence[Any]) -> None:
    """One line per source: file, format, rows read, kept, quarantined by reason."""
    for report in reports:
        lost = report.read - report.kept
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(report.reasons.items(), key=lambda i: -i[1])[:4])
        quarantined = f"  {lost:,} quarantined: {reasons} (data/quarantine.jsonl)" if lost else ""
        used = f"  {report.used:,} used per epoch" if report.split == "train" and report.used != report.kept else ""
        role = f"  role {report.role}" if report.split != "train" else ""
        label = "data" if report.split == "train" else report.split
        counts = f"{report.read:,} read  {report.kept:,} kept{used}{role}{quarantined}"
        say(label, f"{report.file or report.key}  {report.format}  {counts}")


def seconds(value: float) -> str:
    """`3.2 s`, `1 min 05 s`."""
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {int(value % 60):02d} s"


def size(count: float) -> str:
    """Bytes: `9.1 GiB`, `312 MiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
