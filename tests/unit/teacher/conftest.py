"""A server on loopback that speaks OpenAI's protocol, and goes wrong as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tuneforge.adapter.full import Full
from tuneforge.context import RunContext
from tuneforge.model.tiny import Tiny
from tuneforge.optimizer.adamw import AdamW
from tuneforge.scheduler.constant import Constant
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft

Fault = dict[str, Any]


@dataclass
class Server:
    """Answers each request by the next of `faults`, or well once they are used up; remembers every request."""

    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    refuses: str = ""
    """A parameter that is answered with 400."""
    says: Callable[[dict[str, Any]], str] = lambda body: f"echo: {body['messages'][-1]['content']}"
    seconds: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    _now: int = 0

    @contextmanager
    def counted(self, body: dict[str, Any], headers: dict[str, str]) -> Iterator[Fault]:
        with self.lock:
            self.bodies.append(body)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            self.at.append(time.monotonic())
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            fault = self.faults.pop(0) if self.faults else {}
        try:
            yield fault
        finally:
            with self.lock:
                self._now -= 1

    def reply(self, body: dict[str, Any], **more: Any) -> dict[str, Any]:
        text = self.says(body)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}} | more
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"],
                "choices": [choice], "usage": usage}  # fmt: skip


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.counted(body, dict(self.headers.items())) as fault:
                time.sleep(fault.get("seconds", server.seconds))
                self.answer(body, fault)

        def answer(self, body: dict[str, Any], fault: Fault) -> None:
            if "cut" in fault:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"id": "1", "choi')
                self.close_connection = True
                return
            status, content = fault.get("status", 200), fault.get("content")
            if server.refuses and server.refuses in body:
                status, content = 400, {"error": {"message": f"Unsupported parameter: '{server.refuses}'"}}
            if content is None:
                content = server.reply(body) if status == 200 else {"error": {"message": f"fault {status}"}}
            if callable(content):
                content = content(body, self.headers)
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", fault.get("type", "application/json"))
            self.send_header("Content-Length", str(len(data)))
            for name, value in fault.get("headers", {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    http.daemon_threads = True
    made.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., RunContext]:
    """A run's context with these teachers, whose cache is the test's own."""

    def make(**teachers: Any) -> RunContext:
        run = Run(
            model=Tiny(), strategy=Sft(), adapter=Full(), optimizer=AdamW(), scheduler=Constant(), teacher=teachers
        )
        return RunContext(run, tmp_path / "run", tmp_path / "cache")

    return make
