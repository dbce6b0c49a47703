"""The checks of the audit, in the order of the report. Each is a module of its name with a function `check`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module

from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.subject import Subject
from tuneforge.errors import ConfigError

Check = Callable[[Subject], Iterable[Finding]]

CHECKS: tuple[str, ...] = ("leakage", "near_leakage", "shared_prompts", "duplicates", "contradictions", "personal_data")
"""Names of all checks: `audit.fail_on` and `audit.skip` name them."""


def findings(subject: Subject) -> Iterator[Finding]:
    """What every check that is not skipped finds. A library that is missing is said as a finding, not raised."""
    for name in subject.context.progress([n for n in CHECKS if n not in subject.run.audit.skip], "audit"):
        try:
            yield from list(import_module(f"tuneforge.audit.{name}").check(subject))
        except ConfigError as missing:
            yield Finding(check=name, severity=Severity.info, text=f"not checked: {missing}")
