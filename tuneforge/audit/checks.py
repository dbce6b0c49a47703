"""The checks of the audit, in the order of the report. Each is a module of its name with a function `check`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.subject import Subject
from tuneforge.errors import ConfigError

Check = Callable[[Subject], Iterable[Finding]]

CHECKS: tuple[str, ...] = (
    "leakage",
    "near_leakage",
    "shared_prompts",
    "duplicates",
    "contradictions",
    "personal_data",
    "completeness",
    "lengths",
    "formats",
    "diversity",
    "register",
    "refusals",
    "bias",
    "tasks",
    "balance",
    "coverage",
    "label_noise",
    "agreement",
    "fit",
)
"""Names of all checks: `audit.fail_on` and `audit.skip` name them."""
SEVERITIES = ("warning", "error")
"""What `audit.fail_on` may name beside checks."""


@dataclass(frozen=True)
class Audited:
    """What all checks found, in their order."""

    findings: Sequence[Finding]
    seconds: Mapping[str, float]
    """What each check took."""


def audit(subject: Subject) -> Audited:
    """Make every check that is not skipped. A missing library is said as a finding; any other error is a bug."""
    found: list[Finding] = []
    seconds: dict[str, float] = {}
    for name in subject.context.progress([n for n in CHECKS if n not in subject.run.audit.skip], "audit"):
        began = time.perf_counter()
        try:
            found += import_module(f"tuneforge.audit.{name}").check(subject)
        except ConfigError as missing:
            found.append(Finding(check=name, severity=Severity.info, text=f"not checked: {missing}"))
        seconds[name] = round(time.perf_counter() - began, 3)
    return Audited(found, seconds)
