"""Geometry of the training curves: losses with the gap in words, learning rate, gradient norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tuneforge.report.charts import nice_ticks

LEFT, RIGHT, TOP, BOTTOM = 52.0, 96.0, 14.0, 26.0
"""Room around a plot, in SVG units: for the scale, the names of the lines, and the steps."""
LOSSES = {"training": "train/loss", "validation": "validation/loss"}
SMALL: tuple[tuple[str, dict[str, str]], ...] = (
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
    return replace(plot, best=mark, words=gap(best, rows[-1]))


def gap(best: Mapping[str, float], last: Mapping[str, float]) -> str:
    """How far validation stands from training, at the step with the lowest validation loss and at the last."""
    text = f"lowest validation loss after step {best['step']:,.0f}: {_stand(best)}"
    return text if best["step"] == last["step"] else f"{text}; after step {last['step']:,.0f}: {_stand(last)}"


def _stand(row: Mapping[str, float]) -> str:
    validation, train = row[LOSSES["validation"]], row.get(LOSSES["training"])
    if train is None:
        return f"validation {validation:.4g}"
    return f"train {train:.4g}, validation {validation:.4g}, gap {validation - train:+.4g}"


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
    y = [(place(place.x_low, t)[1], f"{t:g}") for t in nice_ticks(place.y_low, place.y_high, round(height / 50))]
    return Plot(title, width, height, _apart(lines), x, y)


def _series(log: Sequence[Mapping[str, float]], columns: Mapping[str, str]) -> dict[str, list[tuple[float, float]]]:
    found = {n: [(row["step"], row[c]) for row in log if "step" in row and c in row] for n, c in columns.items()}
    return {name: line for name, line in found.items() if line}


class _Scale:
    """Steps and values to SVG units."""

    def __init__(self, points: Sequence[tuple[float, float]], width: float, height: float) -> None:
        steps, values = [p[0] for p in points], [p[1] for p in points]
        self.x_low, self.x_high = min(steps), max(max(steps), min(steps) + 1)
        low, high = min(values), max(values)
        self.y_low = min(0.0, low) if low < 0.5 * high else low
        self.y_high = high if high > self.y_low else self.y_low + 1
        self.width, self.height = width - LEFT - RIGHT, height - TOP - BOTTOM

    def __call__(self, step: float, value: float) -> tuple[float, float]:
        x = LEFT + (step - self.x_low) / (self.x_high - self.x_low) * self.width
        y = TOP + (self.y_high - value) / (self.y_high - self.y_low) * self.height
        return round(x, 1), round(y, 1)


def _scale(log: Sequence[Mapping[str, float]], columns: Mapping[str, str], width: float, height: float) -> _Scale:
    return _Scale([p for line in _series(log, columns).values() for p in line], width, height)


def _apart(lines: list[Line]) -> list[Line]:
    """Labels at the ends of two curves, at least a line of text apart."""
    if len(lines) == 2 and abs(lines[0].end[1] - lines[1].end[1]) < 28:
        upper = 0 if lines[0].end[1] <= lines[1].end[1] else 1
        middle = (lines[0].end[1] + lines[1].end[1]) / 2
        for i, line in enumerate(lines):
            lines[i] = replace(line, end=(line.end[0], middle + (-14 if i == upper else 14)))
    return lines
