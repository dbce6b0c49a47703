"""A variant that is gone, by the answers that it gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuneforge.errors import TuneForgeError
from tuneforge.evaluation.lm import row_key
from tuneforge.evaluation.unable import Unable
from tuneforge.rows import Answer, Row


class Replayed(Unable):
    """An `LM` that repeats the recorded answers of a variant: its weights may have been trained on since."""

    head = "no longer a"

    def __init__(self, variant: str, answers: Mapping[tuple[str, str, int], Answer]) -> None:
        super().__init__(variant)
        self.answers = answers

    def generate(self, rows: Sequence[Row], max_tokens: int) -> list[Answer]:
        """The recorded answers; TuneForgeError for a row that was not asked with as many tokens."""
        keys = [(self.variant, row_key(row), max_tokens) for row in rows]
        missing = next((row for row, key in zip(rows, keys, strict=True) if key not in self.answers), None)
        if missing is not None:
            raise TuneForgeError(f"{missing.place}: {self.variant} gave no answer that could be compared")
        return [self.answers[key] for key in keys]
