"""What a model under evaluation cannot do, said in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from tuneforge.errors import ConfigError
from tuneforge.evaluation.trouble import Trouble
from tuneforge.rows import Answer, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Unable:
    """An `LM` that does nothing: every method is a ConfigError. Who can do something overrides that."""

    head = "no"

    def __init__(self, variant: str) -> None:
        self.variant = variant
        self.trouble = Trouble()

    def generate(self, rows: Sequence[Row], max_tokens: int) -> list[Answer]:
        """No answers."""
        self._refuse("generate", "a causal_lm head")

    def log_probs(self, rows: Sequence[Row], column: str) -> NDArray[np.float64]:
        """No log-probabilities."""
        self._refuse("log_probs", "a causal_lm head")

    def predict(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """No class probabilities."""
        self._refuse("predict", "a sequence_classification head")

    def tag(self, rows: Sequence[Row]) -> list[list[str]]:
        """No tags."""
        self._refuse("tag", "a token_classification head")

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """No embeddings."""
        self._refuse("embed", "an embedding head")

    def reward(self, rows: Sequence[Row], column: str) -> NDArray[np.float64]:
        """No rewards."""
        self._refuse("reward", "a reward head")

    def describe(self, rows: Sequence[Row]) -> dict[str, Any]:
        """For metrics.json: what the variant is."""
        return {"head": self.head}

    def _refuse(self, what: str, needed: str) -> NoReturn:
        raise ConfigError(f"{self.variant}: {what} needs {needed}; this model has {self.head} head")
