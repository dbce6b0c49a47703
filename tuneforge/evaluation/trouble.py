"""What went otherwise than asked during an evaluation: counted, so that it can be said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Trouble:
    """What could not be asked or scored as it stands, counted once per row."""

    no_room: set[str] = field(default_factory=set)
    fewer_shots: set[str] = field(default_factory=set)
    windowed: set[str] = field(default_factory=set)
    unrendered: dict[str, str] = field(default_factory=dict)
    """Row → why it cannot be asked: its answer is empty, its log-probabilities are left out."""

    def notes(self, variant: str) -> Iterator[str]:
        """One sentence per kind of trouble."""
        if self.no_room:
            yield f"{variant}: {len(self.no_room)} prompts do not fit the context; their answers count as empty"
        if self.fewer_shots:
            yield f"{variant}: {len(self.fewer_shots)} rows were asked with fewer shots, to fit the context"
        if self.windowed:
            yield f"{variant}: {len(self.windowed)} rows are longer than the context; scored in overlapping windows"
        for reason, count in Counter(self.unrendered.values()).items():
            yield f"{variant}: {count} rows could not be rendered, and count as failed: {reason}"
