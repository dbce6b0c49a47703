"""A headless Chromium, spoken to over its DevTools pipe: pages from disk, their console, clicks and widths."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip

PATIENCE = 60
"""Seconds after which a browser that says nothing has died."""


def executable() -> str:
    """The browser that is installed; empty: none is."""
    return next((found for name in NAMES if (found := shutil.which(name))), "")


class Browser:
    """One tab; `said` is what its console, its policy and its dialogs said, `asked` the addresses it asked for."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._unread = b""
        self._number, self._session = 0, ""
        self.said: list[str] = []
        self.asked: list[str] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a DevTools command; what happens meanwhile is kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._outgoing, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return dict(answer["result"])

    def open(self, path: Path, width: int = 1280, dark: bool = False) -> None:
        """Load a page from disk, to its end."""
        self.said, self.asked, self._loaded = [], [], False
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self._loaded:
            self._next()

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited where it is a promise."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            assert select.select([self._incoming], [], [], PATIENCE)[0], f"the browser said nothing for {PATIENCE} s"
            read = os.read(self._incoming, 1 << 16)
            assert read, "the browser ended"
            self._unread += read
        text, self._unread = self._unread.split(b"\0", 1)
        return dict(json.loads(text))

    def _next(self) -> dict[str, Any]:
        message = self._message()
        method, facts = message.get("method"), message.get("params") or {}
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.asked.append(facts["request"]["url"])
        elif method == "Log.entryAdded":
            self.said.append(facts["entry"]["text"])
        elif method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening"):
            self.said.append(json.dumps(facts))
        assert method != "Inspector.targetCrashed", "the page's process died"
        return message


@contextmanager
def running(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, ended afterwards."""
    (command_read, command_write), (answer_read, answer_write) = os.pipe(), os.pipe()
    words = [executable(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    # Above 10, so that neither is 3 or 4, where the browser looks for its two ends.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (command_read, answer_write)]
    actions = [
        (os.POSIX_SPAWN_DUP2, ends[0], 3), (os.POSIX_SPAWN_DUP2, ends[1], 4),
        *((os.POSIX_SPAWN_OPEN, std, os.devnull, os.O_WRONLY, 0) for std in (1, 2)),
    ]  # fmt: skip
    process = os.posix_spawn(words[0], words, os.environ, file_actions=actions)
    for end in (command_read, answer_write, *ends):
        os.close(end)
    try:
        yield Browser(answer_read, command_write)
    finally:
        for end in (answer_read, command_write):
            os.close(end)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
