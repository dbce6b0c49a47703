"""Whether the code that an answer holds passes its tests."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from tuneforge.evaluation.execution.sandbox import Outcome, Program
    from tuneforge.settings import Run

FAILURES = ("syntax", "timeout", "wrong", "error")


@dataclass(kw_only=True)
class CodeExecution(Evaluator):
    """1 for an answer whose Python passes the row's tests, 0 for another (pass@1, arXiv:2107.03374).

    The code is the answer's first fenced block of Python, else its first of all, else the whole answer. It runs with
    the tests in a process of its own that has the standard library, an empty folder, bounded time and memory, and
    neither network, processes, threads, environment nor other files; what that contains and what not stands in
    docs/evaluation.md. As this machine then runs what a model wrote, nothing is done without `allow=true`. A row passes
    where its last test has ended without an exception. The statistics `syntax`, `timeout`, `wrong` (an assertion of a
    test) and `error` (all else, also an answer with an error) say why others did not. Code that draws random numbers
    may end otherwise each time.
    """

    name: ClassVar[str] = "code_execution"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("code_execution"),)
    record: ClassVar[str] = "prompt"
    max_tokens: ClassVar[int] = 1024

    allow: bool = False
    """Run what the model writes on this machine, in the sandbox that docs/evaluation.md describes."""
    tests: str = "tests"
    """Kept column with the tests: Python statements, as a text or a list of texts."""
    setup: str = ""
    """Kept column with Python that runs before the code, such as imports; empty: none."""
    timeout: float = 10.0
    """Seconds that code and tests of one answer may take."""
    memory: int = 512
    """MiB of address space that they may take."""

    def check(self, run: Run) -> Iterable[str]:
        """Nobody allowed it; bounds that nothing can keep; a system without such processes."""
        if not self.allow:
            yield (
                "allow=false: it runs code that the model writes on this machine, in a sandbox"
                f" (docs/evaluation.md says what that contains); evaluator.{self.name}.allow=true permits it"
            )
        if not 0 < self.timeout <= 600 or self.memory < 64:
            yield f"timeout={self.timeout:g}, memory={self.memory}: needs 0 < timeout <= 600 (s) and memory >= 64 (MiB)"
        if os.name != "posix":
            yield "its sandbox needs Linux or macOS"

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """Statistics per row; says how many failed and why. Tests that are none are refused before any answer."""
        self._programs(rows, [Answer("")] * len(rows))
        answers = lm.generate(rows, self.max_tokens)
        found = list(context.progress(self._run(rows, answers), f"Run the code of {len(rows):,} answers"))
        self._say(lm.variant, rows, found, context)
        return map(_stats, found)

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """Statistics per row, in order, of as many processes at a time as the machine has cores."""
        return map(_stats, self._run(rows, answers))

    def score(self, row: Row, answer: Answer) -> Stats:
        """As `judge`, of one row."""
        return _stats(next(iter(self._run([row], [answer]))))

    def _run(self, rows: Sequence[Row], answers: Sequence[Answer]) -> Iterable[Outcome]:
        from tuneforge.errors import ConfigError
        from tuneforge.evaluation.execution.sandbox import Outcome, run_all

        if not self.allow:
            raise ConfigError(f"evaluator.{self.name}.allow=false: nothing that a model wrote is run")
        outcomes = run_all(self._programs(rows, answers), self.timeout, self.memory)
        for answer, outcome in zip(answers, outcomes, strict=True):
            yield Outcome("error", answer.error) if answer.error else outcome

    def _programs(self, rows: Sequence[Row], answers: Sequence[Answer]) -> list[Program]:
        from tuneforge.evaluation.execution.answers import block, statements, tests
        from tuneforge.evaluation.execution.sandbox import Program
        from tuneforge.evaluation.kept import kept

        asked = [
            tests(row, value, self.tests) for row, value in zip(rows, kept(rows, self.tests, self.name), strict=True)
        ]
        setups = kept(rows, self.setup, self.name) if self.setup else [""] * len(rows)
        for row, setup in zip(rows, setups, strict=True):
            statements(row, setup, self.setup)
        codes = [block(answer.text, ("python", "py", "python3")) for answer in answers]
        return [Program(*one) for one in zip(codes, asked, setups, strict=True)]

    def _say(self, variant: str, rows: Sequence[Row], found: Sequence[Outcome], context: Context) -> None:
        from tuneforge.evaluation.execution.sandbox import namespaces
        from tuneforge.evaluation.kept import reasons

        passed = sum(outcome.kind == "pass" for outcome in found)
        faults = [("" if outcome.kind == "pass" else outcome.kind, outcome.detail) for outcome in found]
        context.note(f"{self.name}: {variant}: {passed} of {len(rows)} pass{reasons(rows, faults)}")
        lacking = [] if namespaces() else ["namespaces"]
        lacking += [] if all(outcome.confined for outcome in found) else ["Landlock"]
        if lacking:
            context.note(
                f"{self.name}: this machine allows no {' and no '.join(lacking)}: Python alone kept the code apart"
            )


def _stats(outcome: Outcome) -> Stats:
    return {"code_execution": float(outcome.kind == "pass")} | {kind: float(outcome.kind == kind) for kind in FAILURES}
