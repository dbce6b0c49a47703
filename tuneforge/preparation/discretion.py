"""What a run with a private transform does not quote."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tuneforge.preparation.messages import kind_of
from tuneforge.preparation.transforming import veiled
from tuneforge.rows import Rejected
from tuneforge.settings import Run

if TYPE_CHECKING:
    from tuneforge.preparation.prepare import Prepared


def discreet(run: Run, prepared: Prepared) -> Prepared:
    """Reasons and reports of what came before a private transform say no more than their kind."""
    keys = list(run.transform)
    private = [number for number, key in enumerate(keys) if run.transform[key].private]
    if not private:
        return prepared
    before = {key for key in keys[: private[-1]] if not run.transform[key].private}
    return replace(
        prepared,
        rejected=[_by_kind(rejected) for rejected in prepared.rejected],
        transforms=[veiled(report) if report.name in before else report for report in prepared.transforms],
        dropped={k: [_by_kind(r) for r in rows] if k in before else rows for k, rows in prepared.dropped.items()},
    )


def _by_kind(rejected: Rejected) -> Rejected:
    return Rejected(rejected.row, kind_of(rejected.reason))
