"""Many requests under way at once, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager

from tuneforge.components import Context
from tuneforge.errors import TuneForgeError
from tuneforge.rows import Answer, Request
from tuneforge.teacher.store import Keep, Pair

Session = Callable[[], AbstractAsyncContextManager[Callable[[Request], Awaitable[Answer]]]]
"""Opens a client within the event loop; what it gives answers one request and raises nothing."""
AHEAD = 4
"""Requests that are handed over before they can be sent, as a multiple of those under way."""


def concurrently(
    requests: Iterator[Request], session: Session, keep: Keep, limit: int, context: Context
) -> Iterator[Pair]:
    """Answers as they come, kept before they are yielded, with `limit` requests under way.

    Whoever stops early (Ctrl-C, an error, a reader that has enough) waits for those under way, which are paid for and
    so are kept; nothing further is asked. A second Ctrl-C ends the waiting.
    """
    line, left = _Line(session, keep, limit), 0
    try:
        for request in requests:
            line.ask(request)
            left += 1
            while left >= AHEAD * limit:
                pairs = line.answered()
                left -= len(pairs)
                yield from pairs
        while left:
            pairs = line.answered()
            left -= len(pairs)
            yield from pairs
    except (KeyboardInterrupt, GeneratorExit, TuneForgeError):
        if line.under_way:
            context.note(f"{line.under_way} answers under way are waited for and kept; Ctrl-C again ends at once")
        raise
    finally:
        line.end()


class _Line:
    """Workers in a thread. Requests go in and answers come out by queues."""

    def __init__(self, session: Session, keep: Keep, limit: int) -> None:
        self.session, self.keep, self.limit = session, keep, limit
        self.under_way = 0
        self._asked: asyncio.Queue[Request | None] = asyncio.Queue()
        self._fresh: asyncio.Queue[Pair | None] = asyncio.Queue()
        self._kept: queue.SimpleQueue[list[Pair] | BaseException] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        # A daemon, so that a second Ctrl-C need not wait for the server.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._started.wait()

    def ask(self, request: Request) -> None:
        """Put a request into the line."""
        self._call(self._asked.put_nowait, request)

    def answered(self) -> list[Pair]:
        """The next answers; waits for one at least. Raises what ended the thread."""
        found = self._kept.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def end(self) -> None:
        """Ask nothing further, and wait for what is under way."""
        self._call(self._close)
        self._thread.join()

    def _call(self, function: Callable[..., None], *arguments: Request) -> None:
        with contextlib.suppress(RuntimeError):  # the loop ended by an error, which `answered` raises
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *arguments)

    def _close(self) -> None:
        while not self._asked.empty():
            self._asked.get_nowait()
        for _ in range(self.limit):
            self._asked.put_nowait(None)

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                self._started.set()
                runner.run(self._serve())
        except BaseExceptionGroup as group:
            self._kept.put(group.exceptions[0])
        except BaseException as error:
            self._kept.put(error)
        finally:
            self._started.set()

    async def _serve(self) -> None:
        async with self.session() as answer, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write())
            working = [tasks.create_task(self._work(answer)) for _ in range(self.limit)]
            await asyncio.wait(working)
            self._fresh.put_nowait(None)

    async def _work(self, answer: Callable[[Request], Awaitable[Answer]]) -> None:
        while (request := await self._asked.get()) is not None:
            self.under_way += 1
            self._fresh.put_nowait((request, await answer(request)))
            self.under_way -= 1

    async def _write(self) -> None:
        """Keep all that has come together in one go, then hand it out; the last thing that comes is None."""
        ended = False
        while not ended:
            fresh = [await self._fresh.get()]
            while not self._fresh.empty():
                fresh.append(self._fresh.get_nowait())
            pairs = [pair for pair in fresh if pair is not None]
            ended = len(pairs) < len(fresh)
            if pairs:
                await asyncio.to_thread(self.keep, pairs)
                self._kept.put(pairs)
