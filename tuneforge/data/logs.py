"""Rows from logs of requests and responses of a model in production."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tuneforge.components import Context, DataSource
from tuneforge.data.files import read_files
from tuneforge.data.json import read_lines
from tuneforge.data.nested import ABSENT, reach
from tuneforge.rows import Kept, Rejected, Row

SUFFIXES = ("log", "jsonl", "ndjson", "json")
"""Files of a folder or an archive that are read."""

WHOLE = ("stop", "end_turn", "stop_sequence", "eos", "eos_token", "tool_calls", "function_call")
"""Reasons to end that are an answer's own."""


@dataclass(kw_only=True)
class Logs(DataSource):
    """Logged requests and responses as JSON Lines: the conversation with its answer in `messages`, and `tools`.

    The paths are dotted (`response.choices.0.message`); by default those of records with an OpenAI request and
    response. Failed requests, empty and truncated answers, streamed chunks, and rows without the consent or the
    feedback that is asked for are rejected with the reason. What else a record holds stays, for `columns.group`, ….
    """

    name: ClassVar[str] = "logs"

    messages: str = "request.messages"
    """Path of the messages that were sent, the system message among them; or of a prompt that is one text."""
    answer: str = "response.choices.0.message"
    """Path of the answer: a message, or its text."""
    tools: str = "request.tools"
    """Path of the tools that the request offered."""
    status: str = "status"
    """Path of the HTTP status; 400 and above is a failure."""
    error: str = "error"
    """Path of the error; anything but null, false and an empty text is a failure."""
    finish: str = "response.choices.0.finish_reason"
    """Path of the reason why the answer ended; length, max_tokens, content_filter and the like are no whole answers."""
    consent: str | None = None
    """Path of a consent; rows where it is not true are rejected. null: none is asked for."""
    feedback: str | None = None
    """Path of a feedback; rows without it, or with less than `minimum`, are rejected. null: none is asked for."""
    minimum: float = 1.0
    """Least feedback of a row that is used; true counts 1, false 0."""

    @property
    def needs_path(self) -> bool:
        """It reads files, though none by its suffix alone."""
        return True

    def read(self, context: Context) -> Kept:
        """A row per record that can be trained on."""
        several = 0
        for item in read_files(self.path, SUFFIXES, context, lambda given: read_lines(given.file, given.name)):
            yield item if isinstance(item, Rejected) else self._row(item)
            several += isinstance(item, Row) and self._has_several(item.columns)
        if several:
            context.note(f"{self.path}: {several:,} records hold several answers; only the one at answer= is used")

    def _row(self, row: Row) -> Row | Rejected:
        record = row.columns
        if problem := self._failure(record) or self._unanswered(record) or self._unwanted(record):
            return Rejected(row, problem)
        sent, answer = reach(record, self.messages), reach(record, self.answer)
        turns = sent if isinstance(sent, list) else [{"role": "user", "content": sent}]
        said = answer if isinstance(answer, Mapping) else {"role": "assistant", "content": answer}
        used = {path.split(".")[0] for path in (self.messages, self.answer, self.tools, self.status, self.error)}
        columns = {name: value for name, value in record.items() if name not in used}
        columns["messages"] = [*turns, {"role": "assistant", **said}]
        if (tools := reach(record, self.tools)) is not ABSENT and tools:
            columns["tools"] = tools
        return Row(columns=columns, file=row.file, line=row.line)

    def _has_several(self, record: Mapping[str, Any]) -> bool:
        before, number, _ = self.answer.partition(".0.")
        choices = reach(record, before) if number else None
        return isinstance(choices, list) and len(choices) > 1

    def _failure(self, record: Mapping[str, Any]) -> str:
        status, error = reach(record, self.status), reach(record, self.error)
        if status is not ABSENT and _number(status) >= 400:
            return f"failed request: {self.status} is {status}"
        if error is not ABSENT and error:
            text = error.get("message", error) if isinstance(error, Mapping) else error
            return f"failed request: {str(text)[:200]}"
        return ""

    def _unanswered(self, record: Mapping[str, Any]) -> str:
        """Why there is no whole answer to a known question; empty where there is."""
        if self._streamed(record):
            return "streamed answer: chunks are not put together here; log the whole response"
        if reach(record, self.messages) in (ABSENT, None, [], ""):
            return f"missing field: '{self.messages}' (the record has {', '.join(record)[:200]})"
        answer = reach(record, self.answer)
        if answer is ABSENT:
            return f"missing field: '{self.answer}'"
        finish = reach(record, self.finish)
        if finish in ("length", "max_tokens"):
            return f"truncated answer: {self.finish} is {finish}"
        if finish not in (ABSENT, None, *WHOLE):
            return f"unfinished answer: {self.finish} is {finish!r}"
        content = answer.get("content") if isinstance(answer, Mapping) else answer
        calls = isinstance(answer, Mapping) and answer.get("tool_calls")
        return "" if calls or (content and str(content).strip()) else f"empty answer: '{self.answer}'"

    def _streamed(self, record: Mapping[str, Any]) -> bool:
        """Whether the response is the pieces of an answer as they were sent."""
        response = record.get(self.answer.split(".")[0])
        if isinstance(response, str):
            return response.lstrip().startswith("data:")
        first = response[0] if isinstance(response, list) and response else response
        choices = reach(first, "choices.0") if isinstance(first, Mapping) else ABSENT
        return isinstance(choices, Mapping) and "delta" in choices

    def _unwanted(self, record: Mapping[str, Any]) -> str:
        if self.consent is not None and reach(record, self.consent) is not True:
            return f"no consent: '{self.consent}' is not true"
        if self.feedback is None:
            return ""
        feedback = reach(record, self.feedback)
        if math.isnan(given := _number(feedback)):
            return f"no feedback: '{self.feedback}' holds no number"
        return "" if given >= self.minimum else f"low feedback: '{self.feedback}' is {feedback}, below {self.minimum:g}"


def _number(value: Any) -> float:
    """A number, or a text that is one; NaN for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
