"""What evaluators share that ask how sure a variant is, and whether it is right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Evaluator

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class ConfidenceEvaluator(Evaluator):
    """Measures confidence on texts with one class, prompts with choices, and prompts with an answer."""

    record: ClassVar[str] = "completion"

    evaluator: str = "exact_match"
    """Key of the evaluator whose first metric says whether a generated answer is right (1) or wrong (0)."""

    def check(self, run: Run) -> Iterable[str]:
        """Another evaluator has to judge."""
        if self.evaluator in ("calibration", "selective"):
            yield f"evaluator={self.evaluator}: name one that says what is right, as exact_match"

    def serves(self, columns: Mapping[str, Any]) -> bool:
        """Texts with one class, prompts with choices, and prompts with an answer."""
        from tuneforge.evaluation.confidence import kind

        return bool(kind(columns))
