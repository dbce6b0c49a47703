"""A headless Chromium, spoken to over its DevTools pipe: pages from disk, their console, clicks and widths."""

from __future__ import annotations

import fcntl
import json
import os
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
    "--hide-scrollbars",    "--remote-debugging-pipe",
)  # fmt: skip


def executable() -> str:
    """The browser that is installed; empty: none is."""
    return next((found for name in NAMES if (found := shutil.which(name))), "")


class Browser:
    """One tab; `said` is what its console, its policy and its dialogs said, `asked` the addresses it asked for."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming, self._outgoing = os.fdopen(incoming, "rb"), os.fdopen(outgoing, "wb")
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
        self._outgoing.write(json.dumps(message).encode() + b"\0")
        self._outgoing.flush()
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

    def close(self) -> None:
        """Both ends of the pipe."""
        self._incoming.close()
        self._outgoing.close()

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (one := self._incoming.read(1)) != b"\0":
            assert one, "the browser ended"
            text += one
        message: dict[str, Any] = json.loads(text)
        method, facts = message.get("method"), message.get("params") or {}
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.asked.append(facts["request"]["url"])
        elif method == "Log.entryAdded":
            self.said.append(facts["entry"]["text"])
        elif method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening"):
            self.said.append(json.dumps(facts))
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
        browser = Browser(answer_read, command_write)
        yield browser
        browser.close()
    finally:
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)
