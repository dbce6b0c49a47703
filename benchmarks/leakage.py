"""Leakage: a hundred planted rows in five disguises, false alarms on clean splits, and time on large sets.

    python benchmarks/leakage.py ../shared/data             half a minute
    python benchmarks/leakage.py ../shared/data --rows 100000

For each real set a tenth of the rows is held out and 20 rows of it are planted into training in each disguise of
tests/unit/audit/disguises.py. Found is what stands in training by that very kind; refused says whether the default
`audit.fail_on=[leakage]` refuses a run. The clean split is the same without the planted rows. Then generated rows, a
tenth as many held out: CPU-seconds and their ratio per training row to the first size.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.unit.audit.disguises import DISGUISES
from tuneforge.audit.leaks import Leaks, leaks
from tuneforge.rows import HeldOut, Row

EACH = 20
LONG = 20
"""Words of a row that is planted: a shorter one is not sought inside others."""


def asked(rows: Iterable[Any], prompt: str, completion: str) -> Iterator[dict[str, str]]:
    return ({"prompt": str(row[prompt]), "completion": str(row[completion])} for row in rows)


def gsm8k(folder: Path) -> Iterator[dict[str, str]]:
    with gzip.open(folder / "gsm8k/train.jsonl.gz", "rt", encoding="utf-8") as file:
        yield from asked(map(json.loads, file), "question", "answer")


def alpaca(folder: Path) -> Iterator[dict[str, str]]:
    rows = json.loads((folder / "alpaca_demo/alpaca_en_demo.json").read_text(encoding="utf-8"))
    yield from asked(rows, "instruction", "output")


def roleplay(folder: Path) -> Iterator[dict[str, str]]:
    file = next((folder / "gpteacher_roleplay").glob("*.json"))
    yield from asked(json.loads(file.read_text(encoding="utf-8")), "instruction", "output")


def cypher(folder: Path) -> Iterator[dict[str, str]]:
    with gzip.open(folder / "text2cypher/text2cypher_gpt4turbo.csv.gz", "rt", encoding="utf-8", newline="") as file:
        yield from asked(csv.DictReader(file), "question", "cypher")


def aqua(folder: Path) -> Iterator[dict[str, str]]:
    with (folder / "aqua_rat/dev.json").open(encoding="utf-8") as file:
        yield from asked(map(json.loads, file), "question", "rationale")


SETS: tuple[Callable[[Path], Iterator[dict[str, str]]], ...] = (gsm8k, alpaca, roleplay, cypher, aqua)


def planted(name: str, columns: Iterable[dict[str, str]]) -> None:
    """Two lines: the clean split, and what is found of each disguise."""
    different = list(dict.fromkeys(tuple(c.items()) for c in columns))
    rows = [Row(columns=dict(c), file=name, line=n) for n, c in enumerate(different)]
    random.Random(0).shuffle(rows)
    prompts = {row.columns["prompt"].casefold() for row in rows[len(rows) // 10 :]}
    test = [row for row in rows[: len(rows) // 10] if row.columns["prompt"].casefold() not in prompts]
    train = rows[len(rows) // 10 :]
    clean = looked(train, test)
    long = [row for row in test if len(" ".join(row.columns.values()).split()) >= LONG]
    each = min(EACH, len(long) // len(DISGUISES))
    added = [
        replace(disguise(row), file=disguise.__name__)
        for n, disguise in enumerate(DISGUISES)
        for row in long[each * n : each * (n + 1)]
    ]
    found = looked(train + added, test)
    by = Counter((leak.train_place.split(":")[0], leak.kind) for leak in found.found)
    refused = {d.__name__: kind in found.proven for d, kind in DISGUISES.items()}
    shown = [f"{by[d.__name__, kind]}/{each}{'' if refused[d.__name__] else '*'}" for d, kind in DISGUISES.items()]
    print(f"{name:<10} {len(train):>6,} {len(test):>5,}  ", *(f"{one:>10}" for one in shown), end="")
    near = len(clean.found) - len(clean.of(*clean.proven))
    print(f"  {len(clean.of(*clean.proven)):>12} {near:>10}")


def looked(train: list[Row], test: list[Row]) -> Leaks:
    return leaks(train, [HeldOut("t", "test", "target", test)])


def timed(rows: int, first: float) -> float:
    """CPU-seconds per training row."""
    draw = random.Random(0)
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "r", "st", "l", "k", "m")]
    made = [
        Row(columns={"prompt": " ".join(draw.choices(words, k=25)), "completion": " ".join(draw.choices(words, k=40))})
        for _ in range(rows + rows // 10)
    ]
    began = time.process_time()
    found = looked(made[:rows], made[rows:])
    per_row = (time.process_time() - began) / rows
    print(f"{rows:>9,} {rows // 10:>9,}  {per_row * rows:>11.1f}  {per_row / (first or per_row):>6.2f}", end="")
    print(f"  {len(found.found):>5}")
    return per_row


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 30_000])
    given = parser.parse_args()
    print("found, by the kind that it should be; * does not refuse                              on the clean split")
    print("set         train  test  ", *(f"{d.__name__:>10}" for d in DISGUISES), "  refusing rows  near rows")
    for one in SETS:
        planted(one.__name__, one(given.folder))
    print("\n    train  held out  CPU-seconds  linear  found")
    first = 0.0
    for rows in given.rows:
        per_row = timed(rows, first)
        first = first or per_row


if __name__ == "__main__":
    main()
