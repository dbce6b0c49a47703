"""What went otherwise than asked during an evaluation: counted, so that it can be said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from tuneforge.rows import Answer


@dataclass
class Trouble:
    """What could not be asked or scored as it stands, counted once per row."""

    no_room: set[str] = field(default_factory=set)
    fewer_shots: set[str] = field(default_factory=set)
    windowed: set[str] = field(default_factory=set)
    unrendered: dict[str, str] = field(default_factory=dict)
    """Row → why it cannot be asked: its answer is empty, its log-probabilities are left out."""
    answered: Counter[int] = field(default_factory=Counter)
    """Most tokens → answers."""
    limited: Counter[int] = field(default_factory=Counter)
    """Most tokens → answers that had so many and had not ended."""
    cut: Counter[int] = field(default_factory=Counter)
    """Most tokens → answers that had not ended when the context was full."""
    asked: Counter[str] = field(default_factory=Counter)
    """Kind of result → how many were needed."""
    recalled: Counter[str] = field(default_factory=Counter)
    """Kind of result → how many of them an earlier evaluation had computed."""
    forgetful: str = ""
    """Why results are not kept for later."""

    def count(self, row: str, answer: Answer, most: int) -> None:
        """An answer to the row that could have had `most` tokens."""
        if answer.error and answer.prompt_tokens:
            self.no_room.add(row)
        if answer.error:
            return
        self.answered[most] += 1
        if answer.finish == "length":
            (self.limited if answer.tokens >= most else self.cut)[most] += 1

    def notes(self, variant: str, limits: Collection[int] = ()) -> Iterator[str]:
        """One sentence per kind of trouble.

        `limits` are those that evaluators were given; another was chosen so that no right answer is cut, and reaching
        it is no trouble. Without `limits` all of them are told.
        """
        if self.no_room:
            yield f"{variant}: {len(self.no_room)} prompts do not fit the context; their answers count as empty"
        if self.fewer_shots:
            yield f"{variant}: {len(self.fewer_shots)} rows were asked with fewer shots, to fit the context"
        if self.windowed:
            yield f"{variant}: {len(self.windowed)} rows are longer than the context; scored in overlapping windows"
        for most, count in ((m, c) for m, c in self.limited.items() if not limits or m in limits):
            yield f"{variant}: {count:,} of {self.answered[most]:,} answers reached max_tokens={most} without an end"
        for most, count in self.cut.items():
            yield f"{variant}: {count:,} of {self.answered[most]:,} answers filled the context before max_tokens={most}"
        for kind, count in self.recalled.items():
            if count:
                yield f"{variant}: {count:,} of {self.asked[kind]:,} {kind} come from the cache of earlier evaluations"
        if self.forgetful:
            yield f"{variant}: what the model says is not kept for later evaluations: {self.forgetful}"
        for reason, count in Counter(self.unrendered.values()).items():
            yield f"{variant}: {count} rows could not be rendered, and count as failed: {reason}"
