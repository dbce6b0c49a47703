"""A model on a server that speaks OpenAI's protocol."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from tuneforge.components import Context, Teacher
from tuneforge.rows import Answer, Request

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

    from tuneforge.settings import Run
    from tuneforge.teacher.store import Keep, Pair

HOME = "https://api.openai.com/v1"
HOPELESS = (401, 403, 404)
"""Statuses that every further request would get too."""
REFUSED = re.compile(
    r"un(supported|recognized|known|expected)|not (supported|permitted|allowed)|does not support|extra"
)
"""How servers say that they do not take a parameter."""


@dataclass(kw_only=True)
class OpenAI(Teacher):
    """Ask a model on a server that speaks OpenAI's protocol: OpenAI, vLLM, llama.cpp, Ollama, transformers serve.

    Answers are kept in the cache of TuneForge: no request is paid twice, and a stopped run goes on where it was. What
    fails (429, 5xx, a lost connection) is tried again after the time that the server names, else after a growing one.
    A JSON schema is sent, and said in words, as some servers ignore what they do not know. A parameter that the server
    refuses is left out from then on, and that is said.
    """

    name: ClassVar[str] = "openai"
    extra: ClassVar[str] = "openai"
    module: ClassVar[str] = "openai"

    model: str = ""
    """Name of the model on the server."""
    base_url: str = HOME
    """Where the server is, with the version: http://localhost:8000/v1. Questions and rows are sent there."""
    api_key: str | None = field(default=None, metadata={"secret": True})
    """Key for the server, as ${oc.env:OPENAI_API_KEY}; null: none is sent."""
    concurrency: int = 8
    """Requests under way at once."""
    timeout: float = 120.0
    """Seconds after which an answer is given up, and tried again."""
    retries: int = 5
    """How often a request that failed is tried again; then its answer is an error."""
    price_in: float | None = None
    """US dollars per million tokens of prompts; null: cost is not counted."""
    price_out: float | None = None
    """US dollars per million tokens of answers; null: cost is not counted."""
    max_cost: float | None = None
    """Nothing further is asked in a run once this many US dollars are spent; requests under way are finished."""

    def __post_init__(self) -> None:
        self._spent = 0.0
        self._stopped = ""
        self._left_out: set[str] = set()
        self._uncounted = False

    def check(self, run: Run) -> Iterable[str]:
        """A model and a server that can be meant; a key where it is OpenAI; figures that can be."""
        if not self.model:
            yield "model is empty: name the model as the server calls it, as model=gpt-4o-mini"
        yield from self._address_problems()
        if self.concurrency < 1:
            yield f"concurrency={self.concurrency}: must be 1 or more"
        if self.timeout <= 0:
            yield f"timeout={self.timeout}: must be more than 0 seconds"
        if self.retries < 0:
            yield f"retries={self.retries}: must be 0 or more"
        for name in ("price_in", "price_out", "max_cost"):
            if (getattr(self, name) or 0) < 0:
                yield f"{name}={getattr(self, name)}: must be 0 or more US dollars"
        if self.max_cost is not None and None in (self.price_in, self.price_out):
            yield f"max_cost={self.max_cost}: needs price_in and price_out, else nothing is known of what is spent"

    def _address_problems(self) -> Iterator[str]:
        found = urlsplit(self.base_url)
        if found.scheme not in ("http", "https") or not found.hostname:
            yield f"base_url={self.base_url}: is no address; it looks like http://localhost:8000/v1"
        elif found.username or found.password:
            yield "base_url holds a name or password, which would be written down; use api_key=${oc.env:NAME}"
        elif found.path.rstrip("/").endswith(("/chat/completions", "/completions", "/responses")):
            yield f"base_url={self.base_url}: ends in a resource; leave it out, as in {HOME}"
        elif found.hostname == urlsplit(HOME).hostname and not self.api_key:
            yield "api_key is empty: api_key=${oc.env:OPENAI_API_KEY}, or name another server by base_url"

    @property
    def identity(self) -> dict[str, Any]:
        """The server and its model."""
        return {"base_url": self.base_url.rstrip("/"), "model": self.model}

    def complete(self, requests: Iterable[Request], context: Context) -> Iterator[tuple[Request, Answer]]:
        """Known answers at once, others as they come; `cost` is in US dollars where prices are given."""
        from tuneforge.extras import require
        from tuneforge.teacher.store import stored

        require("openai", self.extra, "teacher=openai")
        yield from stored(self, self.identity, requests, context, partial(self._ask, context))

    def _ask(self, context: Context, requests: Iterator[Request], keep: Keep) -> Iterator[Pair]:
        from tuneforge.teacher.concurrent import concurrently

        return concurrently(requests, partial(self._session, context), keep, self.concurrency, context)

    @asynccontextmanager
    async def _session(self, context: Context) -> AsyncIterator[Callable[[Request], Awaitable[Answer]]]:
        from openai import AsyncOpenAI

        # Without a key of its own the library would send $OPENAI_API_KEY to whatever server is named.
        async with AsyncOpenAI(
            base_url=self.base_url, api_key=self.api_key or "none", timeout=self.timeout, max_retries=self.retries
        ) as client:
            yield partial(self._answer, client, context)

    async def _answer(self, client: AsyncOpenAI, context: Context, request: Request) -> Answer:
        from openai import APIStatusError, OpenAIError

        while not self._stopped:
            body = self._body(request)
            try:
                return self._read(await client.chat.completions.create(**body), context)
            except APIStatusError as error:
                if not self._leave_out(error, body, context):
                    return Answer("", self._why(error, context))
            except JSONDecodeError:
                return Answer("", "the server's reply is no JSON")
            except (OpenAIError, ValueError) as error:
                return Answer("", self._safe(f"{self.base_url}: {error or type(error).__name__}"))
        return Answer("", f"not asked: {self._stopped}")

    def _body(self, request: Request) -> dict[str, Any]:
        from tuneforge.teacher.schemas import in_words, strict

        body: dict[str, Any] = {"model": self.model, "messages": in_words(request), "seed": request.seed}
        body |= {"temperature": request.temperature, "max_tokens": request.max_tokens}
        if request.schema is not None:
            form = {"name": "answer", "schema": request.schema, "strict": strict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if "max_tokens" in self._left_out:
            body["max_completion_tokens"] = request.max_tokens
        return {name: value for name, value in body.items() if name not in self._left_out}

    def _leave_out(self, error: APIStatusError, body: dict[str, Any], context: Context) -> bool:
        """Whether the server refused parameters that can be left out; then they are, from now on."""
        said = str(error).lower()
        if error.status_code not in (400, 422) or not REFUSED.search(said):
            return False
        names = {name for name in ("seed", "temperature", "max_tokens", "response_format") if name in said}
        if "json_schema" in said:
            names.add("response_format")
        names &= body.keys()
        for name in sorted(names - self._left_out):
            context.note(f"{self.model} at {self.base_url} does not take {name}; {_INSTEAD[name]}")
        self._left_out |= names
        return bool(names)

    def _read(self, reply: Any, context: Context) -> Answer:
        """The reply's text; an error where it has none."""
        choice = next(iter(getattr(reply, "choices", None) or ()), None)
        if choice is None or getattr(choice, "message", None) is None:
            return Answer("", "the server's reply is no chat completion")
        usage = self._usage(reply, context)
        message, finish = choice.message, str(choice.finish_reason or "stop")
        if message.content is None or finish == "content_filter":
            why = f"refused: {message.refusal}" if getattr(message, "refusal", None) else f"no text: {finish}"
            return Answer("", self._safe(why), finish, *usage)
        return Answer(message.content, "", "length" if finish == "length" else "stop", *usage)

    def _usage(self, reply: Any, context: Context) -> tuple[int, int, float]:
        """Tokens of prompt and answer, and US dollars."""
        usage = getattr(reply, "usage", None)
        prompt, answer = (getattr(usage, f"{part}_tokens", None) for part in ("prompt", "completion"))
        if prompt is None or answer is None:
            if not self._uncounted:
                said = "does not say how many tokens it took: they and their cost are not counted"
                context.note(f"{self.base_url} {said}")
            self._uncounted = True
            if self.max_cost is not None:
                self._stopped = f"max_cost={self.max_cost} cannot be kept where the server counts no tokens"
            return 0, 0, 0.0
        cost = ((self.price_in or 0.0) * prompt + (self.price_out or 0.0) * answer) / 1e6
        self._spent += cost
        if self.max_cost is not None and self._spent >= self.max_cost and not self._stopped:
            self._stopped = f"max_cost={self.max_cost} is spent"
            context.note(f"{self.model}: max_cost={self.max_cost} US dollars are spent; nothing further is asked")
        return prompt, answer, cost

    def _why(self, error: APIStatusError, context: Context) -> str:
        body = error.body if isinstance(error.body, dict) else {}
        text = self._safe(f"{error.status_code} {body.get('message') or error.message}")
        if error.status_code in HOPELESS and not self._stopped:
            self._stopped = text
            context.note(f"{self.base_url}: nothing further is asked after {text}")
        return text

    def _safe(self, text: str) -> str:
        """One printable line, in which a server that repeats the key does not give it away."""
        text = text.replace(self.api_key, "***") if self.api_key else text
        return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))[:300]


_INSTEAD = {
    "seed": "sampling depends on the server alone",
    "temperature": "it samples at its own",
    "max_tokens": "the limit is sent as max_completion_tokens",
    "response_format": "the JSON schema stands in the prompt alone, and answers may stray from it",
}
