"""Whether evaluation sets are nearer to the training data than training rows are to each other."""

from __future__ import annotations

from collections.abc import Iterable

from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.leakage import kinds, places, shown
from tuneforge.audit.leaks import Kind, Leaks
from tuneforge.audit.subject import Subject

ACTION = (
    "look at the pairs: where they are one row in other words, take them out, or give rows that belong together one "
    "group (columns.group), which a share never cuts; audit.fail_on=[leakage,near_leakage] refuses such a run"
)


def check(subject: Subject) -> Iterable[Finding]:
    """A warning where pairs that are nearly the same are not what the data is like by itself."""
    leaks = subject.leaks
    of = sum(leaks.held_out.values())
    doubtful = [kind for kind in (Kind.contained, Kind.near) if kind not in leaks.proven]
    found = leaks.of(*doubtful)
    if not found:
        text = f"none of {of:,} held-out rows is nearly a training row"
        yield Finding(check="near_leakage", severity=Severity.ok, text=text, of=of)
        return
    telling = leaks.telling(Kind.near) and Kind.near in {leak.kind for leak in found}
    yield Finding(
        check="near_leakage",
        severity=Severity.warning if telling else Severity.info,
        text=f"{len(found):,} of {of:,} held-out rows are nearly training rows: {kinds(found)}; {_among(leaks)}",
        count=len(found),
        of=of,
        action=ACTION if telling else "",
        rows=shown(found),
        places=places(found),
        numbers={str(kind): float(len(leaks.of(kind))) for kind in doubtful}
        | {f"{kind}_in_training": n / size for kind, (n, size) in leaks.common.items() if size},
    )


def _among(leaks: Leaks) -> str:
    said = [
        f"{n:,} of {size:,} training rows are {'nearly' if kind is Kind.near else 'inside'} another"
        for kind, (n, size) in leaks.common.items()
    ]
    nature = "" if leaks.telling(Kind.near) else ", so this is what the data is like"
    return " and ".join(said) + nature
