"""A server that fails in every way that servers do: how often it is asked, what comes of it, what is kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from typing import Any

import pytest

from tuneforge.composition import compose_config
from tuneforge.errors import ConfigError
from tuneforge.rows import Request
from tuneforge.teacher.openai import OpenAI

pytest.importorskip("openai")
SCHEMA = {
    "type": "object", "properties": {"task": {"type": "string"}}, "required": ["task"], "additionalProperties": False,
}  # fmt: skip


def asked(count: int, **more: Any) -> list[Request]:
    return [Request([{"role": "user", "content": f"question {n}"}], **more) for n in range(count)]


def teacher(server: Any, **more: Any) -> OpenAI:
    return OpenAI(**{"model": "large", "base_url": server.url, "timeout": 5.0} | more)


def texts(pairs: Any) -> dict[str, str]:
    return {request.messages[-1]["content"]: answer.text for request, answer in pairs}


def test_every_request_gets_its_own_answer_and_is_bought_once(server: Any, make_context: Any) -> None:
    one = teacher(server, price_in=1.0, price_out=2.0)
    context = make_context(gpt=one)
    found = list(one.complete(asked(40), context))
    assert texts(found) == {f"question {n}": f"echo: question {n}" for n in range(40)}
    assert len(server.bodies) == 40
    assert {a.cost for _, a in found} == {(10 * 1 + 5 * 2) / 1e6}
    again = list(one.complete(asked(45), context))
    assert len(server.bodies) == 45
    assert sum(a.cost for _, a in again) == pytest.approx(5 * 2e-5)
    wanted = {"requests": 85, "from_store": 40, "errors": 0, "prompt_tokens": 450, "tokens": 225}
    assert context.spent["gpt"] == wanted | {"cost": pytest.approx(45 * 2e-5)}
    assert context.notes == []


def test_no_more_are_under_way_than_allowed_and_all_of_them_are(server: Any, make_context: Any) -> None:
    server.seconds = 0.02
    one = teacher(server, concurrency=3)
    assert len(list(one.complete(asked(20), make_context(gpt=one)))) == 20
    assert server.most_at_once == 3


def test_what_is_sent_is_what_was_asked(server: Any, make_context: Any) -> None:
    one = teacher(server)
    system, user = {"role": "system", "content": "s"}, {"role": "user", "content": "u"}
    list(one.complete([Request([system, user], SCHEMA, 33, 0.5, 7)], make_context(gpt=one)))
    said = f"u\n\nAnswer with JSON alone, which fits this schema: {json.dumps(SCHEMA)}"
    assert server.bodies == [
        {
            "model": "large", "messages": [system, {"role": "user", "content": said}],
            "max_tokens": 33, "temperature": 0.5, "seed": 7,
            "response_format": {
                "type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}
            },
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"temperature": 1.0}, {"max_tokens": 9}, {"schema": SCHEMA}, {"messages": [{"role": "user"}]}],
    ids=lambda o: next(iter(o)),
)
def test_another_question_is_bought_anew(other: Any, server: Any, make_context: Any) -> None:
    server.says = lambda body: "x"
    one, [request] = teacher(server), asked(1)
    list(one.complete([request, request._replace(**other), request, request._replace(**other)], make_context(gpt=one)))
    assert len(server.bodies) == 2


def test_another_model_or_server_is_asked_anew(server: Any, make_context: Any) -> None:
    for one in (teacher(server), teacher(server, model="small"), teacher(server, base_url=server.url + "/"),
                teacher(server, base_url=server.url.replace("127.0.0.1", "localhost"))):  # fmt: skip
        list(one.complete(asked(1), make_context(gpt=one)))
    assert [body["model"] for body in server.bodies] == ["large", "small", "large"]


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        ({"status": 500}, 2), ({"status": 503}, 2), ({"status": 429}, 2), ({"cut": True}, 2), ({"seconds": 1.5}, 2),
        ({"status": 429, "headers": {"Retry-After": "1"}}, 2),
    ],
    ids=lambda f: "-".join(map(str, f)) if isinstance(f, dict) else "",
)  # fmt: skip
def test_what_passes_is_tried_again(fault: Any, tries: int, server: Any, make_context: Any) -> None:
    server.faults = [fault]
    one = teacher(server, timeout=1.0)
    [(_, answer)] = one.complete(asked(1), make_context(gpt=one))
    assert (answer.text, answer.error) == ("echo: question 0", "")
    assert len(server.bodies) == tries
    if "headers" in fault:
        assert server.at[1] - server.at[0] >= 1.0


def test_it_gives_up_after_its_retries_and_asks_again_in_the_next_run(server: Any, make_context: Any) -> None:
    server.faults = [{"status": 500}] * 3
    one = teacher(server, retries=1, concurrency=1)
    context = make_context(gpt=one)
    found = {r.messages[0]["content"]: a for r, a in one.complete(asked(2), context)}
    assert [found[f"question {n}"].error for n in range(2)] == ["500 fault 500", ""]
    assert len(server.bodies) == 4
    assert context.spent["gpt"]["errors"] == 1
    assert "teacher.gpt: 1 request got no answer: 1 x 500 fault 500" in [n["text"] for n in context.notes]
    assert all(a.text for _, a in one.complete(asked(2), context))
    assert len(server.bodies) == 5


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"content": "garbage {"}, "the server's reply is no JSON"),
        ({"content": "<html>proxy</html>", "type": "text/html"}, "no chat completion"),
        ({"content": {"object": "other"}}, "no chat completion"),
        ({"content": {"choices": []}}, "no chat completion"),
        ({"content": "[1, 2]"}, ""),
        ({"content": "null"}, "no chat completion"),
        ({"content": {"choices": [{"finish_reason": "x", "message": {"content": None}}]}}, "no text: x"),
        ({"content": {"choices": [{"finish_reason": "stop", "message": {"refusal": "No."}}]}}, "refused: No."),
        ({"status": 400, "content": {"error": {"message": "too long"}}}, "400 too long"),
        ({"status": 418, "content": "teapot"}, "418"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error_that_is_not_kept(fault: Any, why: str, server: Any, make_context: Any) -> None:
    server.faults = [fault]
    one = teacher(server)
    context = make_context(gpt=one)
    [(_, answer)] = one.complete(asked(1), context)
    assert not answer.text
    assert answer.error
    assert why in answer.error
    assert len(server.bodies) == 1
    [(_, answer)] = one.complete(asked(1), context)
    assert answer.text == "echo: question 0"


def test_one_bad_reply_costs_one_answer(server: Any, make_context: Any) -> None:
    server.faults = [{}, {"content": "garbage"}, {}, {"content": "[]"}]
    one = teacher(server)
    found = list(one.complete(asked(30), make_context(gpt=one)))
    assert sum(bool(a.error) for _, a in found) == 2
    assert len(found) == 30


@pytest.mark.parametrize("status", [401, 403, 404])
def test_nothing_further_is_asked_where_nobody_will_answer(status: int, server: Any, make_context: Any) -> None:
    server.faults = [{"status": status}] * 50
    one = teacher(server, concurrency=2)
    context = make_context(gpt=one)
    found = list(one.complete(asked(50), context))
    assert len(found) == 50
    assert len(server.bodies) <= 2
    assert all(str(status) in a.error for _, a in found)


def test_a_server_that_is_not_there_is_an_error_that_says_so(server: Any, make_context: Any) -> None:
    one = OpenAI(model="m", base_url="http://127.0.0.1:9/v1", retries=0)
    [(_, answer)] = one.complete(asked(1), make_context(gpt=one))
    assert answer.error == "http://127.0.0.1:9/v1: Connection error."


@pytest.mark.parametrize("name", ["response_format", "seed", "temperature", "max_tokens"])
def test_a_parameter_that_is_refused_is_left_out_and_said_once(name: str, server: Any, make_context: Any) -> None:
    server.refuses = name
    one = teacher(server, concurrency=2)
    context = make_context(gpt=one)
    found = list(one.complete(asked(10, schema=SCHEMA), context))
    assert all(a.text for _, a in found)
    assert 11 <= len(server.bodies) <= 12
    assert name not in server.bodies[-1]
    assert [n["text"] for n in context.notes if f"does not take {name}" in n["text"]] != []
    assert len(context.notes) == 1
    if name == "response_format":
        assert json.dumps(SCHEMA) in server.bodies[-1]["messages"][-1]["content"]
    if name == "max_tokens":
        assert server.bodies[-1]["max_completion_tokens"] == 512


# ---------------------------------------------------------------- money, secrets, stopping


def test_it_stops_when_its_budget_is_spent(server: Any, make_context: Any) -> None:
    one = teacher(server, price_in=100.0, price_out=200.0, max_cost=0.01, concurrency=2)
    context = make_context(gpt=one)
    found = list(one.complete(asked(50), context))
    assert 5 <= len(server.bodies) <= 6, "an answer costs 0.002, and one more may be under way"
    assert sum(a.error == "not asked: max_cost=0.01 is spent" for _, a in found) == 50 - len(server.bodies)
    assert context.spent["gpt"]["cost"] == pytest.approx(0.002 * len(server.bodies))
    assert any("max_cost=0.01 US dollars are spent" in n["text"] for n in context.notes)


def test_tokens_that_are_not_told_are_said_to_be_uncounted(server: Any, make_context: Any) -> None:
    def mute(body: Any, headers: Any) -> Any:
        return {"choices": server.reply(body)["choices"]}

    server.faults = [{"content": mute}] * 5
    one = teacher(server)
    context = make_context(gpt=one)
    assert all(a.text and a.tokens == 0 for _, a in one.complete(asked(5), context))
    assert ["does not say how many tokens" in n["text"] for n in context.notes] == [True]
    server.faults = [{"content": mute}] * 5
    capped = teacher(server, model="b", price_in=1.0, price_out=1.0, max_cost=1.0, concurrency=1)
    found = [a.error for _, a in capped.complete(asked(5), make_context(gpt=capped))]
    assert sorted(bool(e) for e in found) == [False, True, True, True, True]


def test_the_key_reaches_the_server_and_nothing_else(server: Any, make_context: Any, monkeypatch: Any) -> None:
    def repeats(body: Any, headers: Any) -> Any:
        return {"error": {"message": f"bad key\n\x1b[31m {headers['Authorization']}"}}

    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another")
    server.faults = [{"status": 401, "content": repeats}]
    one = teacher(server, api_key="sk-secret")
    context = make_context(gpt=one)
    [(_, answer)] = one.complete(asked(1), context)
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    assert answer.error == "401 bad key ?[31m Bearer ***"
    assert "sk-secret" not in json.dumps([context.notes, context.spent])
    assert b"sk-secret" not in b"".join(f.read_bytes() for f in context.cache.rglob("*") if f.is_file())
    list(teacher(server, model="b").complete(asked(1), context))
    assert "sk-of-another" not in json.dumps(server.headers), "a key that was not named goes nowhere"


def test_who_stops_early_loses_nothing_that_was_bought(server: Any, make_context: Any) -> None:
    server.seconds = 0.1
    one = teacher(server, concurrency=4)
    context = make_context(gpt=one)
    answers = one.complete(asked(100), context)
    next(iter(answers))
    answers.close()  # type: ignore[attr-defined]
    bought = len(server.bodies)
    assert bought < 20
    assert any("answers under way are waited for and kept" in n["text"] for n in context.notes)
    assert context.spent["gpt"]["requests"] == 1
    assert context.spent["gpt"]["tokens"] == 5 * bought, "what was paid for is counted, though nobody reads it"
    server.seconds = 0
    assert len(list(one.complete(asked(100), context))) == 100
    assert len(server.bodies) == 100, "those under way were kept too"


def test_an_interrupted_wait_ends_so_too(server: Any, make_context: Any) -> None:
    import signal

    server.seconds = 0.2
    one = teacher(server, concurrency=4)
    context = make_context(gpt=one)
    main = threading.get_ident()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of pytest-xdist ignores it
    threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(one.complete(asked(100), context))
    finally:
        signal.signal(signal.SIGINT, before)
    bought, server.seconds = len(server.bodies), 0
    list(one.complete(asked(100), context))
    assert (bought < 20, len(server.bodies)) == (True, 100)


def test_requests_are_pulled_as_they_are_needed(server: Any, make_context: Any) -> None:
    pulled = []

    def lazily() -> Any:
        for request in asked(1000):
            pulled.append(request)
            yield request

    one = teacher(server, concurrency=2)
    answers = one.complete(lazily(), make_context(gpt=one))
    next(iter(answers))
    assert len(pulled) <= 64
    answers.close()  # type: ignore[attr-defined]


def test_an_error_while_keeping_answers_is_raised(server: Any, make_context: Any) -> None:
    one = teacher(server)
    context = make_context(gpt=one)
    (context.cache / "teachers.sqlite").mkdir(parents=True)
    with pytest.raises(Exception, match="unable to open"):
        list(one.complete(asked(3), context))


NO_FILE_LEFT = """
import os, resource
from contextlib import nullcontext
from tuneforge.rows import Request
from tuneforge.teacher.concurrent import concurrently
free = os.open(os.devnull, os.O_RDONLY)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
try:
    next(concurrently(iter([Request([])]), nullcontext, print, 1, None))
except OSError as error:
    print(error.strerror)
"""


def test_a_line_that_cannot_be_opened_is_an_error_not_a_wait() -> None:
    done = subprocess.run([sys.executable, "-c", NO_FILE_LEFT], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "Too many open files\n"


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": ""}, "model is empty"),
        ({}, "api_key is empty: api_key=${oc.env:OPENAI_API_KEY}"),
        ({"base_url": "localhost:8000"}, "is no address"),
        ({"base_url": "http://me:pw@host/v1"}, "would be written down"),
        ({"base_url": "http://host/v1/chat/completions"}, "leave it out"),
        ({"concurrency": 0}, "concurrency=0: must be 1 or more"),
        ({"timeout": 0.0}, "timeout=0.0"),
        ({"retries": -1}, "retries=-1"),
        ({"price_in": -1.0}, "price_in=-1.0"),
        ({"max_cost": 1.0, "price_in": 1.0}, "max_cost=1.0: needs price_in and price_out"),
    ],
)
def test_settings_that_cannot_be(fields: Any, said: str, make_context: Any) -> None:
    reasons = list(OpenAI(**{"model": "m"} | fields).check(make_context().run))
    assert any(said in reason for reason in reasons), reasons
    assert not any("pw" in reason for reason in reasons)


def test_a_key_is_never_written_down(tmp_path: Any, monkeypatch: Any) -> None:
    from tuneforge import saved

    chosen = ["+teacher=openai", "teacher.openai.model=m"]
    with pytest.raises(ConfigError, match=re.escape("teacher.openai.api_key: a secret is never written down")):
        compose_config([*chosen, "teacher.openai.api_key=sk-1"])
    monkeypatch.delenv("MY_KEY", raising=False)
    unset = r"^teacher\.openai\.api_key: the environment variable MY_KEY is not set [^\n]*$"
    with pytest.raises(ConfigError, match=unset):
        compose_config([*chosen, "teacher.openai.api_key=${oc.env:MY_KEY}"])
    monkeypatch.setenv("MY_KEY", "sk-1")
    saved.save(tmp_path, compose_config([*chosen, "teacher.openai.api_key=${oc.env:MY_KEY}"]))
    assert "sk-1" not in (tmp_path / "config.yaml").read_text()
    assert saved.load(tmp_path).teacher["openai"].api_key == "sk-1"  # type: ignore[attr-defined]
