"""Seconds of every check of the audit on 100,000 rows that are made from real ones.

    python benchmarks/audit.py ../shared/data/alpaca_demo/alpaca_en_demo.json
    python benchmarks/audit.py ../shared/data/banking77/train.csv \\
        strategy=classification data.train.columns.label=category

Each row asks what a row of the file asks, with other words, and is answered by sentences of several answers, so that
no two are equal; a text with a class gets words of another of its class. One in fifty stands twice, one in fifty in
nearly the same words. The reference is one pass over all words by a regular expression, in the same run: the audit is
so many such passes. CPU time of this process is compared: a busy machine changes it less than the time that passes.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TypeVar

from tuneforge.audit import checks
from tuneforge.audit.reading import words
from tuneforge.audit.subject import Subject
from tuneforge.composition import compose_config
from tuneforge.context import RunContext
from tuneforge.conversation import passages
from tuneforge.preparation.prepare import prepare
from tuneforge.rows import HeldOut, Row

T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("overrides", nargs="*", default=["strategy=instruction"])
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = compose_config([f"data={given.file}", *given.overrides]).run
        context = RunContext(run, Path(folder))
        made = list(varied(list(prepare(run, context).train), given.rows))
    held = [
        HeldOut("test", "test", "target", made[-500:]),
        HeldOut("validation", "validation", "target", made[-1000:-500]),
    ]
    train = made[:-1000]
    (read, one), _ = timed(lambda: sum(len(words(p.text)) for row in train for p in passages(row.columns)))
    print(f"{len(train):,} rows, {read:,} words; one pass over the words {one:.1f} s of CPU time")
    subject, total, passed = Subject(run, train, held, context), 0.0, 0.0
    for name in checks.CHECKS:
        (_, seconds), wall = timed(lambda name=name: list(import_module(f"tuneforge.audit.{name}").check(subject)))
        total, passed = total + seconds, passed + wall
        print(f"  {name:<16} {seconds:7.1f} s  {seconds / one:5.1f} passes  ({wall:.1f} s passed)", flush=True)
    print(f"  {'all':<16} {total:7.1f} s  {total / one:5.1f} passes  ({passed:.1f} s passed)")


def timed(work: Callable[[], T]) -> tuple[tuple[T, float], float]:
    """What the work returns and its seconds of CPU time; and those that passed."""
    began, cpu = time.perf_counter(), time.process_time()
    found = work()
    return (found, time.process_time() - cpu), time.perf_counter() - began


def varied(rows: Sequence[Row], size: int, seed: int = 0) -> Iterator[Row]:
    """Rows of new texts from the sentences and words of these."""
    draw = random.Random(seed)
    made = labelled(rows, draw) if "label" in rows[0].columns else answered(rows, draw)
    before: list[dict[str, str]] = []
    for number in range(size):
        columns = next(made)
        if before and number % 50 == 0:
            columns = dict(draw.choice(before))
        elif before and number % 50 == 1:
            columns = {k: v.replace(" the ", " this ", 1) for k, v in draw.choice(before).items()}
        if len(before) < 1000:
            before.append(columns)
        yield Row(columns=columns, source="data.train", file="made", line=number, id=str(number))


def answered(rows: Sequence[Row], draw: random.Random) -> Iterator[dict[str, str]]:
    """Prompts with a sentence of an answer, answered by sentences of several answers."""
    texts = [list(passages(row.columns)) for row in rows]
    asked = [p.text for row in texts for p in row if p.role == "user"]
    sentences = [s for row in texts for p in row if p.role == "assistant" for s in re.split(r"(?<=[.!?])\s+", p.text)]
    for number in count():
        prompt = f"{draw.choice(asked)} {draw.choice(sentences)[:80]} ({number})"
        yield {"prompt": prompt, "completion": " ".join(draw.choices(sentences, k=draw.randint(2, 12)))}


def labelled(rows: Sequence[Row], draw: random.Random) -> Iterator[dict[str, str]]:
    """Texts with up to four words of another text of their class."""
    by_label: dict[str, list[str]] = {}
    for row in rows:
        by_label.setdefault(row.columns["label"], []).append(row.columns["text"])
    while True:
        row = draw.choice(rows)
        other = draw.choice(by_label[row.columns["label"]]).split()
        text = " ".join([row.columns["text"], *draw.sample(other, min(len(other), draw.randint(1, 4)))])
        yield {"text": text, "label": row.columns["label"]}


if __name__ == "__main__":
    main()
