"""Production logs: what can be trained on, and every reason why a record cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuneforge.data.logs import Logs

SENT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f"}}


def record(**changed: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hello"}
    choice = {"message": message | changed.pop("message", {}), "finish_reason": changed.pop("finish", "stop")}
    base = {"request": {"messages": SENT}, "response": {"choices": [choice]}, "status": 200, "user": "u1", "score": 0.7}
    return base | changed


@pytest.fixture
def logs(tmp_path: Path) -> Any:
    def write(*records: Any) -> str:
        path = tmp_path / "requests.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in records))
        return str(path)

    return write


def test_conversation_with_system_and_tools(logs: Any, read: Any) -> None:
    found = read(Logs(path=logs(record(request={"messages": SENT, "tools": [TOOL]}), record(error=None, status="201"))))
    turns = [*SENT, {"role": "assistant", "content": "Hello"}]
    assert dict(found.rows[0].columns) == {"user": "u1", "score": 0.7, "messages": turns, "tools": [TOOL]}
    assert "tools" not in found.rows[1].columns
    assert not found.rejected


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(status=503), "failed request: status is 503"),
        (record(error={"message": "overloaded", "code": 1}), "failed request: overloaded"),
        (record(finish="length"), "truncated answer: response.choices.0.finish_reason is length"),
        (record(finish="content_filter"), "unfinished answer: response.choices.0.finish_reason is 'content_filter'"),
        (record(message={"content": " "}), "empty answer: 'response.choices.0.message'"),
        (record(message={"content": None}), "empty answer: 'response.choices.0.message'"),
        (record(response={"choices": []}), "missing field: 'response.choices.0.message'"),
        (record(response=None), "missing field: 'response.choices.0.message'"),
        (record(request={}), "missing field: 'request.messages'"),
        (record(response={"choices": [{"delta": {"content": "He"}}]}), "streamed answer: "),
        (record(response=[{"choices": [{"delta": {}}]}, {"choices": []}]), "streamed answer: "),
        (record(response='data: {"choices": []}\n\ndata: [DONE]'), "streamed answer: "),
        ([1], "not an object: "),
    ],
)
def test_a_bad_record_is_rejected(bad: Any, reason: str, logs: Any, read: Any) -> None:
    found = read(Logs(path=logs(record(), bad, record())))
    assert len(found.rows) == 2
    assert list(found.reasons()) == [2]
    assert found.reasons()[2].startswith(reason)


def test_feedback_and_consent_are_asked_for(logs: Any, read: Any) -> None:
    path = logs(record(), record(score=True), record(score=None), record(score="good"), record(score="0.9", ok=True))
    found = read(Logs(path=path, feedback="score", minimum=0.8))
    assert [row.line for row in found.rows] == [2, 5]
    assert [reason.split(":")[0] for reason in found.reasons().values()] == [
        "low feedback",
        "no feedback",
        "no feedback",
    ]
    assert [row.line for row in read(Logs(path=path, consent="ok")).rows] == [5]


def test_other_paths_and_plain_texts(logs: Any, read: Any) -> None:
    path = logs(
        {"in": "Hi", "out": {"text": "Hello"}, "http": {"code": 200}},
        {"in": "Hi", "out": {"text": "x"}, "http": {"code": 404}},
    )
    found = read(Logs(path=path, messages="in", answer="out.text", status="http.code"))
    assert [m["content"] for m in found.rows[0].columns["messages"]] == ["Hi", "Hello"]
    assert found.reasons() == {2: "failed request: http.code is 404"}


def test_several_answers_are_said(logs: Any, read: Any) -> None:
    two = record()
    two["response"]["choices"] *= 2
    note = read(Logs(path=logs(two, record()))).notes[0]["text"]
    assert note.endswith("1 records hold several answers; only the one at answer= is used")


def test_through_to_rows(logs: Any, tmp_path: Path) -> None:
    from tuneforge.composition import compose
    from tuneforge.context import RunContext
    from tuneforge.preparation.prepare import prepare

    path = logs(*[record() for _ in range(9)], record(message={"content": None, "tool_calls": [{"id": "1"}]}))
    run = compose(["model=tiny", "data=logs", f"data.logs.path={path}", "data.logs.columns.group=user", "test=[]"])
    found = prepare(run, RunContext(run, tmp_path / "run", tmp_path / "cache"))
    assert {row.group for row in found.train} == {"u1"}
    assert found.sources[0].reasons == {"tool_calls": 1}
