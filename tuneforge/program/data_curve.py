"""A probe: would more data help?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Program
from tuneforge.rows import Conclusion, Stage

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class DataCurve(Program):
    """Train on growing shares of the training rows, and say whether more data of this kind would help.

    The shares are nested, and every stage may take as many optimizer steps as the whole: a smaller share is seen more
    often, so that the curve shows the data and not the length of training. A power law through the primary metric
    says what twice the rows would bring. The answer is one of *more of the same* (that gain is proven above `worth`),
    *enough* (it is proven below), *other data* (it is proven below, yet slices of the test set that the training rows
    cover thinly fail, or `target` is not met) and *not settled*.
    """

    name: ClassVar[str] = "data_curve"

    shares: list[float] = field(default_factory=lambda: [0.125, 0.25, 0.5, 1.0])
    """Shares of the training rows, growing; the last is 1, at least three."""
    worth: float = 0.01
    """The gain from twice the rows that would be worth having them, in the unit of the metric."""
    target: float | None = None
    """The metric that is good enough; null: none is named."""

    def check(self, run: Run) -> Iterable[str]:
        """Shares that make no curve; a test set is needed."""
        if len(self.shares) < 3 or sorted(set(self.shares)) != self.shares or self.shares[-1] != 1:
            yield f"program.shares={self.shares}: at least three growing shares are needed, the last of them 1"
        if any(not 0 < share <= 1 for share in self.shares):
            yield f"program.shares={self.shares}: a share is above 0 and at most 1"
        if self.worth <= 0:
            yield f"program.worth={self.worth} must be above 0"
        if not any(source.role == "target" for source in run.test.values()):
            yield "program=data_curve measures on a test set of role target, and there is none"

    def stages(self, run: Run) -> Sequence[Stage]:
        """One per share; epochs grow as the share falls."""
        found, epochs = [], run.trainer.max_epochs
        for share in self.shares:
            longer = [] if epochs is None else [f"trainer.max_epochs={round(epochs / share)}"]
            found.append(Stage(f"{share:.4g}", [f"mixture.fraction={run.mixture.fraction * share}", *longer]))
        return found

    def conclude(self, done: Sequence[Mapping[str, Any]]) -> Conclusion | None:
        """The curve over all stages, and what it says."""
        from tuneforge.evaluation.data_verdict import conclude

        return conclude(done, self.worth, self.target)
