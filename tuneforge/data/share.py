"""A held-out set that is cut from the training data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, DataSource
from tuneforge.errors import ConfigError
from tuneforge.rows import Kept

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class Share(DataSource):
    """A share of the training rows, held out by a hash of their content: the same rows in every run.

    Rows of one group (else with one prompt) stay together. Rows are cut from all `data`, before
    deduplication and transforms, never from synthetic rows. Shares of validation and test are disjoint.
    """

    name: ClassVar[str] = "share"

    fraction: float = 0.05
    """Share of the training rows, above 0 and at most 0.5."""

    def check(self, run: Run) -> Iterable[str]:
        """A fraction that leaves training rows; no file."""
        if not 0 < self.fraction <= 0.5:
            yield f"fraction={self.fraction} must be above 0 and at most 0.5"
        if self.path or self.limit is not None:
            yield "share reads no file: path and limit have no meaning for it"

    def read(self, context: Context) -> Kept:
        """Never called for a held-out set: the core cuts the share."""
        raise ConfigError("share cuts a held-out set from the training data: it belongs under validation or test")
