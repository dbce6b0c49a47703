"""Whether the SQL of an answer returns what the reference query returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from pathlib import Path

    from tuneforge.settings import Run


@dataclass(kw_only=True)
class QueryExecution(Evaluator):
    """1 for an answer whose SQL gives the result of the reference on a SQLite database, 0 for another.

    Execution accuracy as with Spider (Yu and others 2018, arXiv:1809.08887; Zhong and others 2020, arXiv:2010.02840):
    results are compared as multisets of rows, in order where the reference says ORDER BY; columns by their place,
    whatever their names; numbers to a millionth. `valid` is 1 where the SQL runs at all. The SQL is the answer's first
    fenced block of SQL, else its first of all, else the whole answer: one query, that only reads. The database is
    opened read-only, and writing, ATTACH, PRAGMA and extensions are refused. Where a row has several references, the
    result of one is enough. Equal results on one database do not prove equal queries. An answer with an error is wrong.
    """

    name: ClassVar[str] = "query_execution"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("query_execution"), Metric("valid"))
    record: ClassVar[str] = "completion"

    database: str = ""
    """Path of the SQLite database, or of a folder of them."""
    column: str = ""
    """Kept column with the name of each row's database in the folder: `NAME.sqlite` or `NAME.db`, or within `NAME/`."""
    timeout: float = 10.0
    """Seconds that a query may take."""

    def check(self, run: Run) -> Iterable[str]:
        """No database, or no time."""
        if not self.database:
            yield "database is empty: name a SQLite file, or a folder of them together with column (column=db_id)"
        if self.timeout <= 0:
            yield f"timeout={self.timeout:g}: must be more than 0 (seconds)"

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """Statistics per row; says how many answers fail and why. The references are run before anything is asked."""
        expected = self._expected(rows)
        found = self._faults(lm.generate(rows, self.max_tokens), expected)
        self._say(lm.variant, rows, found, context)
        return map(_stats, found)

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """Statistics per row, in order. ConfigError for a reference that cannot be run."""
        return map(_stats, self._faults(answers, self._expected(rows)))

    def score(self, row: Row, answer: Answer) -> Stats:
        """As `judge`, of one row."""
        return _stats(self._faults([answer], self._expected([row]))[0])

    def _faults(self, answers: Sequence[Answer], expected: Sequence[tuple[Path, list[Any]]]) -> list[tuple[str, str]]:
        """(kind, detail) of each answer: kind is empty, `cannot run` or `other result`."""
        from tuneforge.evaluation.execution.queries import fault

        return [
            ("cannot run", answer.error) if answer.error else fault(path, answer.text, results, self.timeout)
            for answer, (path, results) in zip(answers, expected, strict=True)
        ]

    def _expected(self, rows: Sequence[Row]) -> list[tuple[Path, list[Any]]]:
        """The database of each row, and the results of its references."""
        from tuneforge.evaluation.execution.queries import database, results
        from tuneforge.evaluation.kept import kept

        names = kept(rows, self.column, self.name) if self.column else [""] * len(rows)
        key = f"evaluator.{self.name}.database={self.database}"
        paths = [database(self.database, name, key, row) for row, name in zip(rows, names, strict=True)]
        return [(path, results(path, row, self.timeout)) for path, row in zip(paths, rows, strict=True)]

    def _say(self, variant: str, rows: Sequence[Row], found: Sequence[tuple[str, str]], context: Context) -> None:
        from tuneforge.evaluation.kept import reasons

        right = sum(not kind for kind, _ in found)
        context.note(f"{self.name}: {variant}: {right} of {len(rows)} give the right result{reasons(rows, found)}")


def _stats(found: tuple[str, str]) -> Stats:
    return {"query_execution": float(not found[0]), "valid": float(found[0] != "cannot run")}
