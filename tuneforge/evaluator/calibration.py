"""Whether a model is right as often as it is sure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context
from tuneforge.evaluation.confident import ConfidenceEvaluator
from tuneforge.rows import UNIT, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

BINS = 15
"""As Guo et al. 2017 use them."""


@dataclass(kw_only=True)
class Calibration(ConfidenceEvaluator):
    """Expected calibration error and Brier score of confidence, and the error after temperature scaling; 0 is best.

    `ece` is the mean distance of confidence and share right over 15 bins of equal width, weighted by their rows
    (Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599); `ece_mass` the same over 15 bins of equally many rows
    (Nixon et al. 2019, arXiv:1904.01685); `brier` the mean squared distance of each row's confidence from right (1) or
    wrong (0). `ece_scaled` is `ece` at the temperature that makes the truth likeliest on validation rows, or on a
    seeded half of the rows where there are none; the other half is then measured. Few rows make errors look larger.

    Confidence is the probability of the predicted class; with `choices` that of the likeliest one among them; of a
    generated answer exp(log-probability / tokens).
    """

    name: ClassVar[str] = "calibration"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("ece", False, bounds=UNIT),
        Metric("ece_mass", False, bounds=UNIT),
        Metric("brier", False, bounds=UNIT),
        Metric("ece_scaled", False, bounds=UNIT),
    )

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`confidence`, `scaled` and `right`, and what a row adds to each metric: NaN where it was learnt from."""
        import numpy as np

        from tuneforge.evaluation.confidence import apart, scored, temperature

        learnt, measured, rest = apart(rows, context)
        found = scored(lm, rows, context, self.evaluator)
        scale = temperature(scored(lm, learnt, context, self.evaluator)) if learnt else float("nan")
        end = " (the furthest that is tried: confidence says nothing of right and wrong)" if scale > 19.9 else ""
        said = (
            f"temperature {scale:.2f}{end}, fitted on"
            if learnt
            else "no temperature, as there is nothing to fit it on:"
        )
        context.note(f"{self.name} of {lm.variant}: {said} {rest}", **({"temperature": scale} if learnt else {}))
        sure, scaled, right = found.confidence(), found.confidence(scale), found.right
        of = {"ece": right - sure, "ece_mass": right - sure, "brier": (right - sure) ** 2, "ece_scaled": right - scaled}
        stats = {name: np.where(measured, abs(gap), np.nan) for name, gap in of.items()}
        stats |= {"confidence": sure, "scaled": scaled, "right": right}
        return [{name: float(values[i]) for name, values in stats.items()} for i in range(len(rows))]

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """Over the rows that are measured; NaN without any."""
        import numpy as np

        measured = ~np.isnan(stats["ece"])
        sure, scaled, right = (stats[name][measured] for name in ("confidence", "scaled", "right"))
        if not len(sure):
            return {metric.name: float("nan") for metric in self.metrics}
        return {
            "ece": _ece(_width(sure), sure, right),
            "ece_mass": _ece(_mass(sure), sure, right),
            "brier": float(((right - sure) ** 2).mean()),
            "ece_scaled": float("nan") if np.isnan(scaled).any() else _ece(_width(scaled), scaled, right),
        }

    def curves(self, stats: Mapping[str, ndarray]) -> Mapping[str, Sequence[Stats]]:
        """`reliability`: for each bin of equal width with rows in it mean confidence, share right, its interval."""
        import numpy as np

        from tuneforge.evaluation.statistics import wilson

        measured = ~np.isnan(stats["ece"])
        sure, right = stats["confidence"][measured], stats["right"][measured]
        bins, points = _width(sure), []
        for one in np.unique(bins):
            there = bins == one
            share = wilson(float(right[there].sum()), float(there.sum()))
            ends = {"y": share.value, "low": share.low, "high": share.high}
            points.append({"x": float(sure[there].mean()), "n": int(there.sum()), **ends})
        return {"reliability": points}


def _width(sure: ndarray) -> ndarray:
    """(n,) the bin of equal width of each confidence; 1 belongs to the last."""
    found: ndarray = (sure * BINS).astype("int64").clip(0, BINS - 1)
    return found


def _mass(sure: ndarray) -> ndarray:
    """(n,) the bin of each confidence where all have as many rows, or one more."""
    import numpy as np

    bins = np.empty(len(sure), dtype=np.int64)
    bins[np.argsort(sure, kind="stable")] = np.arange(len(sure)) * min(BINS, len(sure)) // len(sure)
    return bins


def _ece(bins: ndarray, sure: ndarray, right: ndarray) -> float:
    import numpy as np

    return float(abs(np.bincount(bins, right - sure)).sum() / len(sure))
