"""Near-duplicates among 10 thousand, 100 thousand and 1 million rows: time, memory, recall and precision.

    python benchmarks/near_duplicates.py                        10,000 and 100,000 rows, half a minute
    python benchmarks/near_duplicates.py 10000 100000 1000000 --svg plots   and plots of both; five minutes

Rows are 25 to 60 words drawn from 20,000 by Zipf's law. Every tenth repeats the row before it with up to a third of
its words replaced, so that its similarity is known by comparing the two. Of those at 0.8 and above, the default of
`transform=near_dedup`, recall is the share found; precision is the share of what is found that is as similar as that.
Each size runs in a process of its own; seconds are of CPU, memory is the peak beyond the texts themselves. Where
datasketch is installed (`pip install datasketch`) it is asked the same of 2,000 rows.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path

from tuneforge.preparation.near import Search
from tuneforge.preparation.shingles import Shingling, Unit, jaccard

THRESHOLD = 0.8
SYLLABLES = [f"{a}{b}{c}" for a in "bdfgklmnprstvw" for b in "aeiou" for c in ("", "n", "r", "st", "l")]
KINDS = {"characters": Shingling(), "words": Shingling(Unit.words, 3)}


def texts(rows: int) -> list[str]:
    draw = random.Random(0)
    words = ["".join(draw.choices(SYLLABLES, k=draw.choice((1, 2, 2, 3)))) for _ in range(20_000)]
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(words))))
    made: list[str] = []
    for number in range(rows):
        if number % 10 == 9:
            again = made[-1].split()
            for at in draw.sample(range(len(again)), draw.randint(0, len(again) // 3)):
                again[at] = draw.choice(words)
            made.append(" ".join(again))
        else:
            made.append(" ".join(draw.choices(words, cum_weights=weights, k=draw.randint(25, 60))))
    return made


def measure(rows: int, kind: str) -> None:
    """Print seconds, MiB, recall and precision of one size."""
    made, shingling = texts(rows), KINDS[kind]
    import numpy  # noqa: F401
    import rensa  # noqa: F401

    held, began, wall = _peak(), time.process_time(), time.perf_counter()
    search = Search(rows, made.__getitem__, THRESHOLD, shingling)
    found = {near.text: near for near in search.near()}
    seconds, wall, memory = time.process_time() - began, time.perf_counter() - wall, _peak() - held
    near = [n for n in range(9, rows, 10) if _similarity(made, n, n - 1, shingling) >= THRESHOLD]
    recall = sum(n in found for n in near) / len(near)
    precise = sum(_similarity(made, one.text, one.kept, shingling) >= THRESHOLD for one in found.values()) / len(found)
    print(seconds, wall, memory, len(near), len(found), recall, precise, search.limited)


def _similarity(made: Sequence[str], one: int, other: int, shingling: Shingling) -> float:
    return jaccard(shingling.of(made[one]), shingling.of(made[other]))


def _peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def datasketch(rows: int) -> None:
    """The same search by datasketch, in this process."""
    from datasketch import MinHash, MinHashLSH

    made, shingling = texts(rows), KINDS["characters"]
    began = time.process_time()
    index, found = MinHashLSH(threshold=THRESHOLD, num_perm=128), 0
    for number, text in enumerate(made):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([shingle.encode() for shingle in shingling.of(text)])
        if index.query(sketch):
            found += 1
        else:
            index.insert(number, sketch)
    seconds = time.process_time() - began
    print(f"datasketch, characters: {rows / seconds:,.0f} rows a CPU-second, {found:,} found, none verified")


def plot(sizes: Sequence[int], measured: Sequence[Sequence[float]], file: Path, name: str, unit: str) -> None:
    """Points and the line through the first that is linear, both axes logarithmic, as SVG."""
    from math import log10

    low, high = log10(sizes[0]), log10(sizes[-1]) + 0.01
    top = max(measured[-1][0], measured[0][0] * sizes[-1] / sizes[0])
    bottom, top = log10(measured[0][0]) - 0.1, log10(top) + 0.1

    def at(x: float, y: float) -> str:
        return (
            f"{90 + 270 * (log10(x) - low) / (high - low):.0f},{200 - 170 * (log10(y) - bottom) / (top - bottom):.0f}"
        )

    linear = [at(size, measured[0][0] * size / sizes[0]) for size in sizes]
    points = [at(size, one[0]).split(",") for size, one in zip(sizes, measured, strict=True)]
    labels = [f"{size:,}: {one[0]:,.1f} {unit}" for size, one in zip(sizes, measured, strict=True)]
    marks = "".join(
        f'<circle cx="{x}" cy="{y}" r="4"/><text x="{x}" y="{int(y) - 8}" text-anchor="end">{label}</text>'
        for (x, y), label in zip(points, labels, strict=True)
    )
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 220" font-family="sans-serif" font-size="11">'
        f'<text x="60" y="14">{name}; dashed: linear from the first</text>'
        f'<polyline points="{" ".join(linear)}" fill="none" stroke="gray" stroke-dasharray="4"/>{marks}</svg>\n',
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--svg", type=Path, help="folder for plots of seconds and memory")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        measure(given.sizes[0], given.one)
        return
    print(
        "shingles         rows  CPU-seconds (wall)   rows/s   MiB  bytes/row  to find  found  recall  precision  linear"
    )
    for kind in KINDS:
        lines = []
        for size in given.sizes:
            command = [sys.executable, __file__, str(size), "--one", kind]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            lines.append([float(number) for number in done.stdout.split()])
            seconds, wall, memory, near, found, recall, precise, _ = lines[-1]
            linear = seconds / size / (lines[0][0] / given.sizes[0])
            print(
                f"{kind:<10} {size:>10,}  {seconds:>11.1f} ({wall:>4.0f})  {size / seconds:>7,.0f} {memory:>5.0f}",
                end=" ",
            )
            print(f"{memory * 2**20 / size:>10.0f} {near:>8.0f} {found:>6.0f}", end="  ")
            print(f"{recall:>6.4f}  {precise:>9.4f}  {linear:>5.2f}", flush=True)
        if given.svg and len(given.sizes) > 1:
            given.svg.mkdir(parents=True, exist_ok=True)
            plot(given.sizes, lines, given.svg / f"{kind}-seconds.svg", f"{kind}: CPU-seconds", "s")
            plot(given.sizes, [[one[2]] for one in lines], given.svg / f"{kind}-memory.svg", f"{kind}: MiB", "MiB")
    if find_spec("datasketch"):
        datasketch(2_000)


if __name__ == "__main__":
    main()
