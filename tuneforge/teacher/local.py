"""A transformers model in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Teacher
from tuneforge.rows import Answer, Request, Row, Sampling

if TYPE_CHECKING:
    from tuneforge.evaluation.lm import HFLM
    from tuneforge.settings import Run
    from tuneforge.teacher.store import Keep, Pair

WEIGHTS = ("*.safetensors", "*.bin", "*.json", "*.jinja")


@dataclass(kw_only=True)
class Local(Teacher):
    """Ask a transformers model that is loaded beside the one in training: a folder, a run or a hub name.

    It is asked in its own chat template, or as plain text where it has none; at temperature 0 greedily, else sampled
    with a random stream per request that depends on its seed and messages alone. A JSON schema is said in words: it
    does not bind. Answers are kept in the cache of TuneForge by the model's files.
    """

    name: ClassVar[str] = "local"

    path: str = ""
    """Folder, run directory or hub name of the model."""
    batch: int = 256
    """Requests that are answered, and kept, together."""

    def check(self, run: Run) -> Iterable[str]:
        """A model, and one request at least at a time."""
        if not self.path:
            yield "path is empty: name the model, as path=./Qwen3-4B"
        if self.batch < 1:
            yield f"batch={self.batch}: must be 1 or more"

    @property
    def identity(self) -> dict[str, Any]:
        """The model's path."""
        return {"path": self.path}

    def complete(self, requests: Iterable[Request], context: Context) -> Iterator[tuple[Request, Answer]]:
        """Known answers at once, others by the batch; the model is loaded when the first is asked for."""
        from tuneforge.teacher.store import stored

        yield from stored(self, self.identity | self._weights(context), requests, context, partial(self._ask, context))

    def _ask(self, context: Context, requests: Iterator[Request], keep: Keep) -> Iterator[Pair]:
        while some := list(islice(requests, self.batch)):
            pairs = list(self._answered(some, context))
            keep(pairs)
            yield from pairs

    def _answered(self, requests: Sequence[Request], context: Context) -> Iterator[Pair]:
        """Requests with equal limits together: first the greedy ones."""
        lm = self._lm(context)

        def alike(request: Request) -> tuple[float, int]:
            return request.temperature, request.max_tokens

        for (temperature, most), group in groupby(sorted(requests, key=alike), alike):
            some = list(group)
            rows = [_row(request, lm) for request in some]
            said = lm.generate(rows, most) if not temperature else _sampled(lm, rows, some)
            yield from zip(some, said, strict=True)

    def _lm(self, context: Context) -> HFLM:
        from tuneforge.evaluation.lm import HFLM
        from tuneforge.training.devices.place import place

        model, tokenizer = context.frozen(self.path)
        return HFLM(f"teacher {self.path}", model.to(place(context.run)), tokenizer)

    def _weights(self, context: Context) -> dict[str, Any]:
        """The model's files by size and time of change, or the commit that a hub name stands for."""
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            return {"commit": getattr(context.frozen(self.path).model.config, "_commit_hash", None)}
        found = sorted({file for pattern in WEIGHTS for file in folder.rglob(pattern)})
        stats = [(file, file.stat()) for file in found]
        return {"files": [[str(file.relative_to(folder)), one.st_size, one.st_mtime_ns] for file, one in stats]}


def _row(request: Request, lm: HFLM) -> Row:
    """The messages, or their texts in a row where the model has no template for turns."""
    from tuneforge.teacher.schemas import in_words

    messages = in_words(request)
    chatted = getattr(lm.tokenizer, "chat_template", None)
    return Row(columns={"prompt": messages if chatted else "\n\n".join(str(m["content"]) for m in messages)})


def _sampled(lm: HFLM, rows: Sequence[Row], requests: Sequence[Request]) -> list[Answer]:
    """One sampled answer per request, all with one temperature and limit."""
    from tuneforge.evaluation.causal import BATCH_ROWS

    found: list[Answer] = []
    for start in range(0, len(rows), BATCH_ROWS):
        found += _drawn(lm, rows[start : start + BATCH_ROWS], requests[start : start + BATCH_ROWS])
    return found


def _drawn(lm: HFLM, rows: Sequence[Row], requests: Sequence[Request]) -> list[Answer]:
    import torch

    from tuneforge.cache import key
    from tuneforge.training.loss.sampling import sample

    most, temperature = requests[0].max_tokens, requests[0].temperature
    prompts = [lm.prompt(row, most) for row in rows]
    fits = [i for i, ids in enumerate(prompts) if ids and (lm.context is None or len(ids) + most <= lm.context)]
    answers = [Answer("", _no_room(lm, most), "length", len(ids)) for ids in prompts]
    if not fits:
        return answers
    seeds = [int(key(requests[i].seed, rows[i].columns["prompt"])[:15], 16) for i in fits]
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    sampling, pad = Sampling(most, temperature), int(lm.tokenizer.pad_token_id or 0)
    drawn = sample(lm.model, [prompts[i] for i in fits], 1, sampling, lm.stop, pad, streams)
    for i, one in zip(fits, drawn, strict=True):
        text = str(lm.tokenizer.decode(one.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        finish = "length" if one.truncated else "stop"
        answers[i] = Answer(text, "", finish, len(prompts[i]), len(one.ids) - (not one.truncated))
    return answers


def _no_room(lm: HFLM, most: int) -> str:
    return f"the prompt cannot be rendered, or leaves no room for {most} tokens in the context of {lm.context}"
