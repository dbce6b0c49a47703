"""Which answers may stand without a human, at a chosen share of errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context
from tuneforge.evaluation.confident import ConfidenceEvaluator
from tuneforge.rows import UNIT, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.settings import Run

POINTS = 100
"""Points of a curve that are kept."""


@dataclass(kw_only=True)
class Selective(ConfidenceEvaluator):
    """Share of rows that a model may answer alone so that at most `target_error` of these answers are wrong.

    A row is answered where confidence is at least a threshold; others go to a human. The threshold is the lowest at
    which, on validation rows, the share of wrong answers is below `target_error` with probability `confidence`: the
    upper bound of Clopper and Pearson, at a confidence that is divided among the 20 thresholds that are tried (Geifman
    and El-Yaniv 2017, arXiv:1705.08500; Angelopoulos et al. 2021, arXiv:2110.01052). That holds for rows like those
    only. Without validation rows a seeded half of the rows is used, and the other half is measured. With too few rows
    nothing is answered, and that is said.

    `coverage` is the share answered, `risk` the share of those that is wrong, no number where none is answered; `aurc`
    the mean risk over all coverages, the surest rows first, without any threshold. Confidence is as in `calibration`.
    """

    name: ClassVar[str] = "selective"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("coverage", bounds=UNIT),
        Metric("risk", False, share=False, bounds=UNIT),
        Metric("aurc", False, bounds=UNIT),
    )

    target_error: float = 0.05
    """Share of wrong answers among those that no human sees, at most."""
    confidence: float = 0.95
    """How surely the share of wrong answers is to be below `target_error`."""

    def check(self, run: Run) -> Iterable[str]:
        """Shares between 0 and 1, and another evaluator that judges."""
        yield from super().check(run)
        for key in ("target_error", "confidence"):
            if not 0 < getattr(self, key) < 1:
                yield f"{key}={getattr(self, key)}: a share above 0 and below 1"

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`confidence`, `right`, `coverage` (1: answered) and `risk` of those; NaN where a row was learnt from."""
        import numpy as np

        from tuneforge.evaluation.confidence import apart, scored
        from tuneforge.evaluation.guarantee import least_rows, threshold

        learnt, measured, rest = apart(rows, context)
        found, delta = scored(lm, rows, context, self.evaluator), 1 - self.confidence
        known = scored(lm, learnt, context, self.evaluator) if learnt else None
        chosen = threshold(known.confidence(), known.right, self.target_error, delta) if known else None
        said = f"{self.name} of {lm.variant}: on {rest}"
        if chosen is None:
            need = least_rows(self.target_error, delta)
            why = f"no threshold keeps errors below {self.target_error:g} with {self.confidence:.0%}"
            context.note(f"{said}, {why}: nothing is answered; even without any error it takes {need:,} rows")
        else:
            promise = f"at most {self.target_error:g} of the answers from confidence {chosen.value:.3f} on are wrong"
            shown = f"bound {chosen.bound:.3f}, {chosen.errors:,} of {chosen.rows:,} wrong"
            context.note(f"{said}, {promise} with {self.confidence:.0%} ({shown})", threshold=chosen.value)
        sure, right = found.confidence(), found.right
        answered = sure >= chosen.value if chosen else np.zeros(len(rows), dtype=bool)
        of = {"coverage": answered, "risk": np.where(answered, 1 - right, np.nan), "aurc": 1 - right}
        stats = {name: np.where(measured, values, np.nan) for name, values in of.items()}
        stats |= {"confidence": sure, "right": right}
        return [{name: float(values[i]) for name, values in stats.items()} for i in range(len(rows))]

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Over the rows that are measured; NaN without any, and a risk where nothing is answered."""
        import numpy as np

        from tuneforge.evaluation.behaviour.means import mean

        measured = ~np.isnan(stats["coverage"])
        answered = stats["coverage"][measured]
        risks = _risks(stats["confidence"][measured], stats["right"][measured])
        return {
            "coverage": float(answered.mean()) if len(answered) else float("nan"),
            "risk": mean(stats["risk"]),
            "aurc": float(risks.mean()) if len(risks) else float("nan"),
        }

    def curves(self, stats: Mapping[str, ndarray]) -> Mapping[str, Sequence[Stats]]:
        """`risk_coverage`: the share of wrong answers among the surest rows by the share of rows, with its interval."""
        import numpy as np

        from tuneforge.evaluation.statistics import wilson

        measured = ~np.isnan(stats["coverage"])
        risks, points = _risks(stats["confidence"][measured], stats["right"][measured]), []
        for n in np.unique(np.linspace(1, len(risks), min(POINTS, len(risks))).astype(int)):
            share = wilson(float(risks[n - 1] * n), float(n))
            ends = {"y": share.value, "low": share.low, "high": share.high}
            points.append({"x": float(n / len(risks)), "n": int(n), **ends})
        return {"risk_coverage": points}


def _risks(sure: ndarray, right: ndarray) -> ndarray:
    """(n,) the share of wrong answers among the 1, 2, …, n surest; equally sure rows count by their mean."""
    import numpy as np

    levels, index, counts = np.unique(-sure, return_inverse=True, return_counts=True)
    if not len(levels):
        return np.empty(0)
    share = np.bincount(index, 1 - right) / counts
    found: ndarray = np.cumsum(np.repeat(share, counts)) / np.arange(1, len(sure) + 1)
    return found
