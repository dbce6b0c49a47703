"""Answers per second from a server: TuneForge's `openai` teacher, and a bare AsyncOpenAI client with a semaphore.

    python benchmarks/teacher.py [--requests 1000] [--concurrency 16] [--milliseconds 40] [--repeats 3]

The server is a process of its own on loopback that speaks the protocol and answers after so many milliseconds, less or
more by up to a half. The bare client keeps nothing. TuneForge's store is empty and written: every answer is on disk
before it is seen. A third figure is the same requests once more, all known. Both take turns; medians are compared.
Aim: .95.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

REPLY = "An answer of about as many words as a judge takes to say which of two answers is better, and why. " * 3


def serve(ready: Connection, milliseconds: float) -> None:
    """Chat completions until the process is ended."""
    drawn = random.Random(0)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # the client has gone
            while True:
                await reply(await reader.readuntil(b"\r\n\r\n"), reader, writer)

    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        model = json.loads(await reader.readexactly(size))["model"]
        await asyncio.sleep(milliseconds / 1000 * drawn.uniform(0.5, 1.5))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": REPLY}}
        usage = {"prompt_tokens": 200, "completion_tokens": 60, "total_tokens": 260}
        facts = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "usage": usage}
        body = json.dumps({**facts, "choices": [choice]}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()

    async def main() -> None:
        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            ready.send(server.sockets[0].getsockname()[1])
            await server.serve_forever()

    asyncio.run(main())


def questions(count: int) -> list[list[dict[str, str]]]:
    """Messages of about 200 tokens, all different."""
    text = "what is to be judged, word by word, " * 25
    return [[{"role": "user", "content": f"question {n}: {text}"}] for n in range(count)]


def bare(url: str, asked: list[list[dict[str, str]]], concurrency: int) -> int:
    """The least that a script would do."""
    from openai import AsyncOpenAI

    async def main() -> int:
        limit = asyncio.Semaphore(concurrency)
        async with AsyncOpenAI(base_url=url, api_key="none") as client:

            async def one(messages: Any) -> str:
                async with limit:
                    reply = await client.chat.completions.create(
                        model="m", messages=messages, max_tokens=512, temperature=0.0, seed=0
                    )
                    return reply.choices[0].message.content or ""

            return sum(map(bool, await asyncio.gather(*map(one, asked))))

    return asyncio.run(main())


def ours(url: str, asked: list[list[dict[str, str]]], concurrency: int, context: Any) -> int:
    """The teacher, as an evaluator asks it."""
    from tuneforge.rows import Request
    from tuneforge.teacher.openai import OpenAI

    teacher = OpenAI(model="m", base_url=url, concurrency=concurrency)
    return sum(bool(answer.text) for _, answer in teacher.complete(map(Request, asked), context))


def seconds(work: Callable[[], int], count: int) -> float:
    """Of one pass, in which every question has to be answered."""
    start = time.perf_counter()
    assert work() == count
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    import tuneforge
    from tuneforge.context import RunContext

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--milliseconds", type=float, default=40.0)
    parser.add_argument("--repeats", type=int, default=3)
    of = parser.parse_args()
    run, asked = tuneforge.compose(), questions(of.requests)
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, of.milliseconds), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{mine.recv()}/v1"
    bare(url, asked[:50], of.concurrency)
    took: dict[str, list[float]] = {"bare": [], "ours": [], "known": []}
    for _ in range(of.repeats):
        with tempfile.TemporaryDirectory() as folder:
            context = RunContext(run, Path(folder), Path(folder))
            took["bare"].append(seconds(lambda: bare(url, asked, of.concurrency), len(asked)))
            for name in ("ours", "known"):
                took[name].append(seconds(lambda: ours(url, asked, of.concurrency, context), len(asked)))  # noqa: B023
    server.terminate()
    rate = {name: of.requests / statistics.median(all_) for name, all_ in took.items()}
    print(f"{of.requests} requests, {of.concurrency} under way, {of.milliseconds:.0f} ms each, {of.repeats} turns")
    print(f"bare client {rate['bare']:8.1f} answers/s")
    print(f"TuneForge   {rate['ours']:8.1f} answers/s   ratio {rate['ours'] / rate['bare']:.3f}   (aim .95)")
    print(f"all known   {rate['known']:8.1f} answers/s")


if __name__ == "__main__":
    main()
