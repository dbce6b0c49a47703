"""Rows to packed tokens: TuneForge's `encode` and `pack`, and a bare loop over the same fast tokenizer.

    python benchmarks/tokenise.py TOKENIZER CORPUS.jsonl [--strategy clm|sft] [--megabytes 20] [--repeats 3]

TOKENIZER is a folder; CORPUS is a file with `text` (clm) or `question` and `answer` (sft), plain or .gz, read over and
over, each time numbered anew, until it has that many megabytes. The bare loop calls the tokenizer on 1,000 texts at a
time, ends each with the eos token, cuts what is longer than 1,024 tokens, and puts rows into the first pack with room,
of the last hundred packs; with sft it tokenises prompts and whole texts, as TRL does. It holds lists in memory and
proves nothing. TuneForge's cache is empty, and written. Both take turns with the same threads; medians are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

BATCH = 1000
LIMIT = 1024
OPEN = 100


def corpus(path: Path, size: float, strategy: str) -> list[dict[str, str]]:
    """Columns until their texts have that many bytes."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    found: list[dict[str, str]] = []
    written = 0
    while written < size:
        for line in lines:
            number = f"{len(found)} "
            columns = (
                {"text": number + line["text"]}
                if strategy == "clm"
                else {"prompt": number + line["question"] + "\n", "completion": line["answer"]}
            )
            found.append(columns)
            written += sum(len(text.encode()) for text in columns.values())
    return found


def bare(tokenizer: Any, columns: list[dict[str, str]]) -> int:
    """Tokens that stand in packs."""
    pieces: list[tuple[list[int], list[int]]] = []
    for start in range(0, len(columns), BATCH):
        batch = columns[start : start + BATCH]
        texts = [c.get("text") or c["prompt"] + c["completion"] for c in batch]
        whole = tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]
        cuts = [0] * len(batch)
        if "prompt" in batch[0]:
            asked = tokenizer([c["prompt"] for c in batch], return_attention_mask=False, verbose=False)["input_ids"]
            cuts = [len(ids) for ids in asked]
        for ids, cut in zip(whole, cuts, strict=True):
            ids.append(tokenizer.eos_token_id)
            labels = [-100] * cut + ids[cut:]
            pieces += [(ids[i : i + LIMIT], labels[i : i + LIMIT]) for i in range(0, len(ids), LIMIT)]
    packs: list[list[tuple[list[int], list[int]]]] = []
    room: list[int] = []
    for piece in pieces:
        size = len(piece[0])
        at = next((i for i in range(max(0, len(packs) - OPEN), len(packs)) if room[i] >= size), None)
        if at is None:
            packs.append([])
            room.append(LIMIT)
            at = -1
        packs[at].append(piece)
        room[at] -= size
    return sum(len(ids) for one in packs for ids, _ in one)


def ours(tokenizer: Any, columns: list[dict[str, str]], run: Any) -> int:
    """The same by TuneForge, with an empty cache."""
    from tuneforge.context import RunContext
    from tuneforge.rows import Row
    from tuneforge.training.batches.packing import pack
    from tuneforge.training.text.encode import encode

    rows = [Row(columns=c, source="data.corpus", file="corpus", line=n) for n, c in enumerate(columns)]
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        context = RunContext(run, Path(name), Path(name))
        encoded = encode(run, rows, tokenizer, context)
        packs = pack(encoded.sizes[:, 0], encoded.max_length)
        assert not encoded.rejected
        return int(packs.sums(encoded.sizes[:, 0]).sum())


def main() -> None:
    """Print both, and their ratio."""
    options = argparse.ArgumentParser()
    options.add_argument("tokenizer")
    options.add_argument("corpus", type=Path)
    options.add_argument("--strategy", default="clm", choices=["clm", "sft"])
    options.add_argument("--megabytes", type=float, default=20)
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    from transformers import AutoTokenizer

    from tuneforge.composition import compose

    run = compose(["model=tiny", "data=x.jsonl", f"strategy={given.strategy}"])
    tokenizer = AutoTokenizer.from_pretrained(given.tokenizer)
    columns = corpus(given.corpus, given.megabytes * 1e6, given.strategy)
    work: dict[str, Callable[[list[dict[str, str]]], int]] = {
        "bare loop": partial(bare, tokenizer),
        "TuneForge": partial(ours, tokenizer, run=run),
    }
    for tokenise in work.values():
        tokenise(columns[:BATCH])
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in work}
    tokens = {}
    for _ in range(given.repeats):
        for name, tokenise in work.items():
            began = time.process_time(), time.perf_counter()
            tokens[name] = tokenise(columns)
            ended = time.process_time(), time.perf_counter()
            times[name].append(tuple(now - then for now, then in zip(ended, began, strict=True)))
    middle = {name: [statistics.median(one) for one in zip(*took, strict=True)] for name, took in times.items()}
    for name, (processor, wall) in middle.items():
        print(f"{name:<10} {len(columns):,} rows, {tokens[name]:,} tokens: {processor:.2f} CPU-s, {wall:.2f} s")
    ratios = [one / other for one, other in zip(middle["bare loop"], middle["TuneForge"], strict=True)]
    print(f"TuneForge's speed is {ratios[0]:.2f} of the bare loop's per CPU-second, {ratios[1]:.2f} per second")


if __name__ == "__main__":
    main()
