"""Generator `template`: rows from a small grammar, without a model."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Generator
from tuneforge.errors import ConfigError
from tuneforge.rows import Kept, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run
    from tuneforge.synthetic.grammar import Drawn, Grammar


class Part(StrEnum):
    """Which share of a grammar's prompts is made; the parts never share a prompt, whatever the seed."""

    all = "all"
    train = "train"
    validation = "validation"
    test = "test"


@dataclass(kw_only=True)
class Template(Generator):
    """Rows from a small grammar: named slots, weighted choices, seeded sampling. No model is asked."""

    name: ClassVar[str] = "template"

    grammar: str = "general"
    """A bundled grammar (general, helpdesk, safety) or the path of a YAML file."""
    seed: int | None = None
    """Seed of the rows; null: the run's."""
    part: Part = Part.all
    """Make only prompts of this part: all, train, validation or test; parts are disjoint by content."""
    held_out: float = 0.1
    """Share of all prompts in `test`, and again in `validation`; the rest is `train`."""
    tasks: list[str] = field(default_factory=list)
    """Only these tasks of the grammar; empty: all of them."""
    unique: bool = True
    """No prompt comes twice; false: repeats are kept, and counted in a note."""

    def check(self, run: Run) -> Iterable[str]:
        """A grammar that cannot be read, and values that make no sense."""
        from tuneforge.synthetic.grammar import load

        if self.teacher:
            yield f"synthetic template asks no teacher; remove teacher={self.teacher}"
        if self.count < 1:
            yield f"synthetic template: count={self.count}; at least 1 is needed"
        if not 0 < self.held_out < 0.5:
            yield f"synthetic template: held_out={self.held_out}; more than 0 and less than 0.5 is needed"
        try:
            load(self.grammar, self.tasks)
        except ConfigError as error:
            yield str(error)

    def generate(self, seeds: Iterable[Row], context: Context) -> Kept:
        """`count` rows; seed rows are not used. `line` numbers them, `group` is equal for equal prompts.

        Raises ConfigError when the grammar has too few different prompts.
        """
        yield from self.rows(context.seed if self.seed is None else self.seed, context)

    def rows(self, seed: int, context: Context | None = None) -> Iterator[Row]:
        """The same rows without a run; repeats are noted where there is a context."""
        from tuneforge.synthetic.grammar import load

        grammar = load(self.grammar, self.tasks)
        if context and grammar.unused:
            context.note(f"synthetic {grammar.file}: slots used nowhere: {', '.join(grammar.unused)}")
        repeated = 0
        for line, (drawn, repeats) in enumerate(self._draws(grammar, seed), start=1):
            repeated += repeats
            yield Row(columns=drawn.columns, source=self.name, file=grammar.file, line=line, group=_group(drawn))
        if context and repeated:
            what = "drawn again instead" if self.unique else "kept"
            context.note(f"synthetic {grammar.file}: {repeated:,} repeated prompts {what}", repeated=repeated)

    def _draws(self, grammar: Grammar, seed: int) -> Iterator[tuple[Drawn, int]]:
        """(row, repeats met before it), `count` times."""
        from tuneforge.synthetic.values import Draw

        draw = Draw(random.Random(seed).random)
        seen: set[tuple[str, ...]] = set()
        for made in range(self.count):
            repeats = 0
            for _ in range(10_000):
                drawn = grammar.draw(draw)
                if not self._wanted(drawn):
                    continue
                key = drawn.prompts
                if key in seen:
                    repeats += 1
                    if self.unique:
                        continue
                seen.add(key)
                yield drawn, repeats
                break
            else:
                raise ConfigError(
                    f"grammar {grammar.file}: no further different prompt in part '{self.part}' after {made} of"
                    f" {self.count} rows; lower count, widen the grammar, or set unique=false"
                )

    def _wanted(self, drawn: Drawn) -> bool:
        if self.part is Part.all:
            return True
        return all(part_of(prompt, self.held_out) is self.part for prompt in drawn.prompts)


def part_of(prompt: str, held_out: float) -> Part:
    """The part that a prompt belongs to, from its content alone."""
    position = int.from_bytes(hashlib.blake2b(prompt.encode(), digest_size=6).digest()) / 2**48
    if position < held_out:
        return Part.test
    return Part.validation if position < 2 * held_out else Part.train


def _group(drawn: Drawn) -> str:
    return hashlib.blake2b("\n".join(drawn.prompts).encode(), digest_size=6).hexdigest()
