"""What the audit found: into data/audit.json, and whether it refuses the run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tuneforge.audit.checks import Audited
from tuneforge.audit.finding import Finding, Severity, Shown
from tuneforge.errors import DataRefused
from tuneforge.files import write_text

SHOWN = 5
"""Rows that a refusal names for each finding."""


def write(audited: Audited, folder: Path) -> None:
    """Add the findings, and the seconds of each check, to data/audit.json."""
    path = folder / "data" / "audit.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["findings"] = [asdict(one) for one in audited.findings]
    content["seconds"] = dict(audited.seconds)
    write_text(path, json.dumps(content, indent=1) + "\n")


def read(folder: Path) -> Audited | None:
    """What an earlier start of this run found; None where it did not get as far."""
    path = folder / "data" / "audit.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if "findings" not in content:
        return None
    return Audited([_finding(one) for one in content["findings"]], content.get("seconds", {}))


def _finding(saved: dict[str, Any]) -> Finding:
    return Finding(**saved | {"severity": Severity(saved["severity"]), "rows": [Shown(**r) for r in saved["rows"]]})


def refusing(found: Iterable[Finding], fail_on: Iterable[str]) -> list[Finding]:
    """The findings that refuse a run: warnings and errors of a check that is named, or of any named severity."""
    named = set(fail_on)
    bad = (Severity.warning, Severity.error)
    return [f for f in found if f.severity in bad and (f.check in named or f.severity.value in named)]


def refuse(found: Iterable[Finding], fail_on: Sequence[str]) -> None:
    """DataRefused where `audit.fail_on` asks for it, with the rows and what to do."""
    bad = refusing(found, fail_on)
    if not bad:
        return
    lines = [f"data refused by the audit (audit.fail_on=[{','.join(fail_on)}]):"]
    for one in bad:
        lines.append(f"  {one.check}: {one.text}")
        lines += [f"    {row.place}  {row.text}" for row in one.rows[:SHOWN]]
        if one.action:
            lines.append(f"    {one.action}")
    raise DataRefused("\n".join(lines))
