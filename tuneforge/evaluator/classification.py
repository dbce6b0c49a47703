"""How often the predicted classes are the right ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.conversation import classes
from tuneforge.errors import ConfigError
from tuneforge.rows import UNIT, Metric, Row, Stats

if TYPE_CHECKING:
    from numpy import ndarray

    from tuneforge.evaluation.class_counts import Counts

BITS = 48
"""Classes of a row that one statistic holds, as the bits of a whole number that a float keeps exactly."""


@dataclass(kw_only=True)
class Classification(Evaluator):
    """Accuracy, F1, precision and recall of a classification head, as scikit-learn computes them.

    One class per row: the likeliest one. Rows whose label is a list: every class whose probability is above
    `threshold`; accuracy then asks for all of a row's classes and no other. Averages are over the classes that stand in
    the rows or are predicted; the precision of one that is never predicted is undefined, counts as 0, and is said.
    Micro F1 of rows with one class is their accuracy. The recall of each class stands in run.json, a confusion matrix
    and the figures of each class in metrics.json.
    """

    name: ClassVar[str] = "classification"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy"),
        Metric("macro_f1", bounds=UNIT),
        Metric("micro_f1", bounds=UNIT),
        Metric("macro_precision", bounds=UNIT),
        Metric("macro_recall", bounds=UNIT),
    )
    record: ClassVar[str] = "label"

    threshold: float = 0.5
    """Probability above which a text has a class, where it may have several."""

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """`accuracy`, and which class is predicted and which is true: an index, or `predicted.0`, … as bits."""
        probabilities, true = lm.predict(rows), _matrix(rows, context.labels)
        if any(isinstance(row.columns["label"], list) for row in rows):
            predicted = probabilities > self.threshold
            sides = {"predicted": _packed(predicted), "true": _packed(true)}
            words = {f"{side}.{i}": word for side, found in sides.items() for i, word in enumerate(found)}
            right = (predicted == true).all(1)
            _say(lm.variant, predicted, true, context)
        else:
            words = {"predicted": probabilities.argmax(1), "true": true.argmax(1)}
            right = words["predicted"] == words["true"]
            _say(lm.variant, words["predicted"][:, None] == range(true.shape[1]), true, context)
        return [
            {"accuracy": float(right[n]), **{name: float(word[n]) for name, word in words.items()}}
            for n in range(len(rows))
        ]

    def classes(self, rows: Sequence[Row], context: Context) -> Sequence[str]:
        """The classes of the model."""
        return context.labels

    def aggregate(self, stats: Mapping[str, ndarray]) -> Stats:
        """From the counts of right, predicted and true rows of each class."""
        from tuneforge.evaluation.class_counts import Counts

        counts = Counts.of(stats["predicted"], stats["true"]) if "true" in stats else _several_each(stats)
        return {"accuracy": float(stats["accuracy"].mean()), **counts.averages()}


def _say(variant: str, predicted: ndarray, true: ndarray, context: Context) -> None:
    """The recall of each class for run.json, of (n, labels) bool; nothing of a rule that says the same of all rows."""
    if (predicted == predicted[:1]).all() or not true.any():
        return
    recalls = {
        name: float((predicted & true)[:, i].sum() / true[:, i].sum())
        for i, name in enumerate(context.labels)
        if true[:, i].any()
    }
    best, worst = (end(recalls, key=recalls.__getitem__) for end in (max, min))
    never = sum(not recall for recall in recalls.values())
    silent = int((true.any(0) & ~predicted.any(0)).sum())
    undefined = f"; never predicted: {silent:,}, whose precision is undefined and counts as 0" if silent else ""
    context.note(
        f"{variant}: recall by class from {recalls[worst]:.2f} ({worst}) to {recalls[best]:.2f} ({best}); never"
        f" found: {never:,} of {len(recalls):,}{undefined}",
        **{f"recall.{name}": recall for name, recall in recalls.items()},
    )


def _several_each(stats: Mapping[str, ndarray]) -> Counts:
    """Rows per class that are right, predicted and true, from bits."""
    from tuneforge.evaluation.class_counts import Counts

    predicted, true = _words(stats, "predicted"), _words(stats, "true")
    return Counts(_rows_per_bit(predicted & true), _rows_per_bit(predicted), _rows_per_bit(true))


def _matrix(rows: Sequence[Row], labels: Sequence[str]) -> ndarray:
    """(n, labels) bool: the classes of each row. ConfigError for a class that the model does not have."""
    import numpy as np

    index = {name: i for i, name in enumerate(labels)}
    found = np.zeros((len(rows), len(labels)), dtype=bool)
    for n, row in enumerate(rows):
        for name in classes(row.columns) or ():
            if name not in index:
                raise ConfigError(f"{row.place}: the model has no class '{name}'")
            found[n, index[name]] = True
    return found


def _packed(found: ndarray) -> list[ndarray]:
    """(n, labels) bool as float64 arrays (n,) of BITS classes each."""
    import numpy as np

    blocks = [found[:, i : i + BITS] for i in range(0, found.shape[1], BITS)]
    return [block @ (2.0 ** np.arange(block.shape[1])) for block in blocks]


def _words(stats: Mapping[str, ndarray], side: str) -> ndarray:
    """(n, words) int64: what `_packed` made."""
    import numpy as np

    count = sum(name.startswith(f"{side}.") for name in stats)
    return np.stack([stats[f"{side}.{i}"] for i in range(count)], axis=1).astype("<i8")


def _rows_per_bit(words: ndarray) -> ndarray:
    """(64 words,) int64: how many rows have each bit, bits that nobody has included."""
    import numpy as np

    bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")
    # Sums of bytes stay bytes for 255 rows: several times as fast as whole numbers at once.
    parts = [bits[i : i + 255].sum(0, dtype=np.uint8) for i in range(0, len(bits), 255)]
    counts: ndarray = np.stack(parts or [bits.sum(0)]).sum(0, dtype=np.int64)
    return counts
