"""What a selection covers and how long it takes: facility location and k-centre against random rows, same budget.

    python benchmarks/select_rows.py [--rows 100000] [--budget 1000] [--file ../shared/data/banking77/train.csv]

`covered` is the mean cosine of every row to the most alike chosen one, `farthest` the least of these cosines, both on
hashed n-grams in 64 dimensions; `classes` how many of the file's classes have a chosen row. Rows beyond the file's are
repeated with a number, so that no two are equal.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from pathlib import Path

import numpy as np

from tuneforge.preparation.features import NGRAMS, vectors
from tuneforge.preparation.selection import facility_location, k_center, nearest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--file", type=Path, default=Path("../shared/data/banking77/train.csv"))
    options = parser.parse_args()
    with options.file.open(encoding="utf-8", newline="") as file:
        read = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    rows = [(f"{text} {i // len(read) or ''}", label) for i, (text, label) in enumerate(read * 99) if i < options.rows]
    random.Random(0).shuffle(rows)
    began = time.perf_counter()
    made = vectors([text for text, _ in rows], NGRAMS, 0)
    print(f"{len(rows):,} rows, budget {options.budget:,}; vectors in {time.perf_counter() - began:.1f} s")
    for name, choose in (
        ("random", lambda: list(range(options.budget))),
        ("k_center", lambda: k_center(made, options.budget)),
        ("facility_location", lambda: facility_location(made, options.budget)),
    ):
        began = time.perf_counter()
        chosen = choose()
        seconds = time.perf_counter() - began
        near = nearest(made, made[chosen])
        kinds = len({rows[index][1] for index in chosen})
        print(f"{name:18} covered {np.mean(near):.4f}  farthest {near.min():.4f}  classes {kinds}  {seconds:.1f} s")


if __name__ == "__main__":
    main()
