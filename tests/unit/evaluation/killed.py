"""An evaluation that is killed at random moments, and begun again each time: `python -m … FOLDER KILLS`.

Prints JSON: whether its numbers are to the bit those of an evaluation that nothing disturbed, and how many results were
kept after each kill, found at last, and needed. As a module of its own, because it forks.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.unit.evaluation import subjects
from tuneforge.evaluation.lm import HFLM


def numbers(cache: Path) -> tuple[list[Any], int]:
    """Everything that a model says of the rows, and how much of it was found."""
    lm = HFLM("base", subjects.llama(), subjects.tokenizer(), batch_tokens=600, cache=cache)
    rows = subjects.questions(60)
    said = [list(answer) for answer in lm.generate(rows, 24)]
    return [said, lm.log_probs(rows, "completion").tolist()], sum(lm.trouble.recalled.values())


def begun(cache: Path, results: int) -> None:
    """In a process of its own, which is killed soon after it has kept so many results."""
    process = os.fork()
    if process == 0:
        numbers(cache)
        os._exit(0)
    while kept(cache) < results and os.waitpid(process, os.WNOHANG) == (0, 0):
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def kept(cache: Path) -> int:
    """Results on disk."""
    try:
        with closing(sqlite3.connect(f"file:{cache}/answers.sqlite?mode=ro", uri=True)) as base:
            return int(base.execute("SELECT COUNT(*) FROM kept").fetchone()[0])
    except sqlite3.OperationalError:  # not made yet
        return 0


def main(folder: Path, kills: int) -> None:
    expected, _ = numbers(folder / "undisturbed")
    whole = kept(folder / "undisturbed")
    found = []
    for results in sorted(random.Random(kills).sample(range(whole - 12), kills)):
        begun(folder / "killed", results)
        found.append(kept(folder / "killed"))
    last, recalled = numbers(folder / "killed")
    again, everything = numbers(folder / "killed")
    same = last == again == expected
    print(json.dumps({"same": same, "kept": found, "recalled": recalled, "everything": everything}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
