"""Whether an answer is JSON that keeps to a schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import LM, Context, Evaluator
from tuneforge.rows import Answer, Metric, Row, Stats

if TYPE_CHECKING:
    from tuneforge.settings import Run


@dataclass(kw_only=True)
class JsonSchema(Evaluator):
    """1 for an answer that is JSON and valid under a schema, 0 for another; `parses` is 1 where it is JSON at all.

    jsonschema validates, by the draft that `$schema` names (2020-12 where it names none); a `format` is not asserted,
    and what a `$ref` names must stand in the schema: nothing is fetched. For JSON without a schema, or with a
    fixed list of keys, use `answer_format`. An answer with an error is wrong.
    """

    name: ClassVar[str] = "json_schema"
    extra: ClassVar[str] = "schema"
    module: ClassVar[str] = "jsonschema"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("json_schema"), Metric("parses"))
    record: ClassVar[str] = "prompt"

    schema: str = ""
    """Path of the schema that all answers must keep to."""
    column: str = ""
    """Kept column with the schema of each row, as an object or a text of JSON; instead of `schema`."""
    fenced: bool = False
    """Take the first fenced block of JSON of an answer, where it has one; false: the whole answer is to be JSON."""

    def check(self, run: Run) -> Iterable[str]:
        """Neither schema nor column, or both."""
        if bool(self.schema) == bool(self.column):
            yield (
                f"schema='{self.schema}', column='{self.column}': name one of both, the path of a schema"
                " (schema=ticket.json) or a kept column that holds each row's (column=schema)"
            )

    def measure(self, lm: LM, rows: Sequence[Row], context: Context, versus: LM | None = None) -> Iterable[Stats]:
        """Statistics per row; says how many answers fail and why. The schemas are read before anything is asked."""
        validators = self._validators(rows)
        found = self._faults(rows, lm.generate(rows, self.max_tokens), validators)
        self._say(lm.variant, rows, found, context)
        return map(_stats, found)

    def judge(self, rows: Sequence[Row], answers: Sequence[Answer], context: Context) -> Iterable[Stats]:
        """Statistics per row, in order. ConfigError for a schema that is none."""
        return map(_stats, self._faults(rows, answers, self._validators(rows)))

    def score(self, row: Row, answer: Answer) -> Stats:
        """As `judge`, of one row."""
        return _stats(self._faults([row], [answer], self._validators([row]))[0])

    def _faults(
        self, rows: Sequence[Row], answers: Sequence[Answer], validators: Sequence[Any]
    ) -> list[tuple[str, str]]:
        """(kind, detail) of each answer: kind is empty, `no JSON` or `not valid`."""
        from tuneforge.evaluation.execution.schemas import fault

        return [
            ("no JSON", answer.error) if answer.error else fault(validator, answer.text, self.fenced, row.place)
            for row, validator, answer in zip(rows, validators, answers, strict=True)
        ]

    def _validators(self, rows: Sequence[Row]) -> list[Any]:
        from tuneforge.evaluation.execution.schemas import of_file, of_row
        from tuneforge.evaluation.kept import kept

        if self.schema:
            return [of_file(self.schema, f"evaluator.{self.name}.schema={self.schema}")] * len(rows)
        return [
            of_row(row, value, self.column) for row, value in zip(rows, kept(rows, self.column, self.name), strict=True)
        ]

    def _say(self, variant: str, rows: Sequence[Row], found: Sequence[tuple[str, str]], context: Context) -> None:
        from tuneforge.evaluation.kept import reasons

        valid = sum(not kind for kind, _ in found)
        context.note(f"{self.name}: {variant}: {valid} of {len(rows)} are valid{reasons(rows, found)}")


def _stats(found: tuple[str, str]) -> Stats:
    return {"json_schema": float(not found[0]), "parses": float(found[0] != "no JSON")}
