"""Geometry of the training curves: losses with the gap in words, learning rate, gradient norm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tuneforge.report.charts import nice_ticks

LEFT, RIGHT, TOP, BOTTOM = 52.0, 96.0, 14.0, 26.0
"""Room around a plot, in SVG units: for the scale, the names of the lines, and the steps."""
NEAR = 5
"""Lines of the log over which the training loss beside a validation loss is taken: one line may be one step."""
WIDE = 20.0
"""Largest value over smallest from which losses are drawn on a logarithmic scale."""
LOSSES = {"training": "train/loss", "validation": "validation/loss"}
SMALL: tuple[tuple[str, dict[str, str]], ...] = (
    ("reward of the answers", {"mean": "reward"}),
    ("pairs told apart", {"share": "rewards/accuracies"}),
    ("learning rate", {"learning rate": "learning_rate", "embeddings": "learning_rate/embeddings"}),
    ("gradient norm before clipping", {"norm": "grad_norm"}),
    ("parameters that train", {"parameters": "training_parameters"}),
)
"""Title → name of each line and its column in the log."""


@dataclass(frozen=True)
class Line:
    """A curve as SVG points, its name and its last value."""

    name: str
    points: str
    end: tuple[float, float]
    last: str


@dataclass(frozen=True)
class Plot:
    """Columns of the log over optimizer steps; `best` is where a mark stands, `words` what is to be said of it."""

    title: str
    width: float
    height: float
    lines: Sequence[Line]
    x: Sequence[tuple[float, str]]
    y: Sequence[tuple[float, str]]
    best: tuple[float, float] | None = None
    words: str = ""


def plots(log: Sequence[Mapping[str, float]]) -> list[Plot]:
    """The losses first, then the small plots; each only where the log has two points for it, or more."""
    found = [_losses(log)] + [_plot(log, title, lines, 400, 150) for title, lines in SMALL]
    return [plot for plot in found if plot is not None]


def _losses(log: Sequence[Mapping[str, float]]) -> Plot | None:
    plot = _plot(log, "loss", LOSSES, 820, 230)
    rows = [row for row in log if LOSSES["validation"] in row and "step" in row]
    if plot is None or not rows:
        return plot
    best = min(rows, key=lambda row: row[LOSSES["validation"]])
    mark = _scale(log, LOSSES, 820, 230)(best["step"], best[LOSSES["validation"]])
    scale = "; logarithmic scale" if _scale(log, LOSSES, 820, 230).log else ""
    return replace(plot, best=mark, words=gap(log, best["step"], rows[-1]["step"]) + scale)


def gap(log: Sequence[Mapping[str, float]], best: float, last: float) -> str:
    """How far validation stands from training, at the steps of the lowest validation loss and of the last."""
    text = f"lowest validation loss after step {best:,.0f}: {_stand(log, best)}"
    return text if best == last else f"{text}; after step {last:,.0f}: {_stand(log, last)}"


def _stand(log: Sequence[Mapping[str, float]], step: float) -> str:
    validation = next(
        row[LOSSES["validation"]] for row in log if row.get("step") == step and LOSSES["validation"] in row
    )
    lines = [(row["step"], row[LOSSES["training"]]) for row in log if LOSSES["training"] in row and row["step"] <= step]
    steps = [0.0, *(at for at, _ in lines)]
    spans = [(after - before, loss) for before, after, (_, loss) in zip(steps, steps[1:], lines, strict=False)][-NEAR:]
    covered = sum(span for span, _ in spans)
    if not covered:
        return f"validation {validation:.4g}"
    train = sum(span * loss for span, loss in spans) / covered
    return f"train {train:.4g} over {covered:,.0f} steps, validation {validation:.4g}, gap {validation - train:+.4g}"


def _plot(
    log: Sequence[Mapping[str, float]], title: str, columns: Mapping[str, str], width: float, height: float
) -> Plot | None:
    series = _series(log, columns)
    if sum(map(len, series.values())) < 2:
        return None
    place = _scale(log, columns, width, height)
    lines = [
        Line(name, " ".join(f"{x},{y}" for x, y in (place(*p) for p in line)), place(*line[-1]), f"{line[-1][1]:.4g}")
        for name, line in series.items()
    ]
    x = [(place(t, place.y_low)[0], f"{t:,.0f}") for t in nice_ticks(place.x_low, place.x_high) if t == int(t)]
    y = [(place(place.x_low, t)[1], f"{t:g}") for t in place.ticks(round(height / 50))]
    return Plot(title, width, height, _apart(lines, height), x, y)


def _series(log: Sequence[Mapping[str, float]], columns: Mapping[str, str]) -> dict[str, list[tuple[float, float]]]:
    found = {n: [(row["step"], row[c]) for row in log if "step" in row and c in row] for n, c in columns.items()}
    return {name: line for name, line in found.items() if line}


class _Scale:
    """Steps and values to SVG units; values by their logarithm where that is allowed and they spread widely."""

    def __init__(self, points: Sequence[tuple[float, float]], width: float, height: float, logarithmic: bool) -> None:
        steps, values = [p[0] for p in points], [p[1] for p in points]
        self.x_low, self.x_high = min(steps), max(max(steps), min(steps) + 1)
        low, high = min(values), max(values)
        self.log = logarithmic and low > 0 and high / low >= WIDE
        self.y_low = low if self.log else min(0.0, low) if low < 0.5 * high else low
        self.y_high = high if high > self.y_low else self.y_low + 1
        self.width, self.height = width - LEFT - RIGHT, height - TOP - BOTTOM

    def __call__(self, step: float, value: float) -> tuple[float, float]:
        x = LEFT + (step - self.x_low) / (self.x_high - self.x_low) * self.width
        low, high, at = (math.log(v) if self.log else v for v in (self.y_low, self.y_high, value))
        return round(x, 1), round(TOP + (high - at) / (high - low) * self.height, 1)

    def ticks(self, about: int) -> list[float]:
        """Round values within the scale."""
        if not self.log:
            return nice_ticks(self.y_low, self.y_high, about)
        powers = range(math.floor(math.log10(self.y_low)), math.ceil(math.log10(self.y_high)) + 1)
        return [10.0**k for k in powers if self.y_low <= 10.0**k <= self.y_high]


def _scale(log: Sequence[Mapping[str, float]], columns: Mapping[str, str], width: float, height: float) -> _Scale:
    points = [p for line in _series(log, columns).values() for p in line]
    return _Scale(points, width, height, columns is LOSSES)


def _apart(lines: list[Line], height: float) -> list[Line]:
    """Labels at the ends of two curves, at least a line of text apart and inside of the plot."""
    if len(lines) == 2 and abs(lines[0].end[1] - lines[1].end[1]) < 28:
        upper = 0 if lines[0].end[1] <= lines[1].end[1] else 1
        middle = min((lines[0].end[1] + lines[1].end[1]) / 2, height - BOTTOM - 8)
        for i, line in enumerate(lines):
            lines[i] = replace(line, end=(line.end[0], middle + (-14 if i == upper else 14)))
    return lines
