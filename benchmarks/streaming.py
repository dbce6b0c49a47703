"""Peak memory of a run whose rows lie on disk, against their size.

    python benchmarks/streaming.py [--gigabytes 0.25 0.5 1] [--streaming on|off] [--steps 5] [--model FOLDER]

Each size is a process of its own: seeded text rows of about 2 KB are written to a temporary folder (removed after),
then read, deduplicated, encoded, packed and trained for some steps with strategy=clm and the embedded model, or one of
a folder, whose tokenizer is then a real one. Printed are its
peak resident memory, of which anonymous memory (RssAnon of /proc/self/status, sampled ten times a second) is what the
run itself holds; the rest is pages of mapped files, which the kernel takes back when others need them. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

WORDS = 50_000


def write(path: Path, size: float) -> int:
    """Rows of text until the file has that many bytes; how many rows."""
    draw, rows, written = random.Random(0), 0, 0
    letters = "etaoinshrdlcumwfgypbvk"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(WORDS)]
    with path.open("w") as file:
        while written < size:
            text = " ".join(draw.choices(words, k=draw.randint(50, 550)))
            written += file.write(json.dumps({"text": f"{rows} {text}"}) + "\n")
            rows += 1
    return rows


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def measure(folder: Path, streaming: str, steps: int, model: str) -> dict[str, float]:
    """Run it in this process; bytes and seconds."""
    from tuneforge import saved
    from tuneforge.composition import compose_config
    from tuneforge.context import RunContext
    from tuneforge.execute import prove
    from tuneforge.record import Record
    from tuneforge.training.fit import fit

    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], _status("RssAnon"))

    os.environ["TUNEFORGE_CACHE"] = str(folder / "cache")
    composed = compose_config([
        f"data={folder / 'rows.jsonl'}", "strategy=clm", f"streaming={streaming}", "validation.share.fraction=0.0005",
        "test.share.fraction=0.0005", "batch.packing=on", f"trainer.max_steps={steps}", "trainer.accelerator=cpu",
        *(["model=hf", f"model.path={model}"] if model else ["model=tiny"]),
    ])  # fmt: skip
    run_folder = folder / "run"
    run_folder.mkdir()
    saved.save(run_folder, composed)
    run = composed.run
    context = RunContext(run, run_folder)
    bare = _status("RssAnon")
    thread = threading.Thread(target=watch)
    thread.start()
    began = time.perf_counter()
    book = Record.start(run, run_folder, context.notes)
    ready = prove(run, context, book)
    prepared = time.perf_counter() - began
    fit(run, ready.loaded, ready.train, ready.validation, ready.proof.packed, context, micro=ready.proof.micro)
    done.set()
    thread.join()
    import resource

    return {
        "anonymous": peak[0], "before": bare, "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "seconds": prepared, "tokens": ready.train.tokens, "texts": ready.train.texts,
    }  # fmt: skip


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--streaming", default="on")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--model", default="")
    parser.add_argument("--child", type=Path)
    given = parser.parse_args()
    if given.child:
        print("RESULT", json.dumps(measure(given.child, given.streaming, given.steps, given.model)))
        return
    for size in given.gigabytes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder / "rows.jsonl", size * 1e9)
            options = ["--streaming", given.streaming, "--steps", f"{given.steps}", "--model", given.model]
            command = [sys.executable, __file__, "--child", name, *options]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            line = next((one for one in done.stdout.splitlines() if one.startswith("RESULT")), None)
            if line is None:
                sys.exit(done.stdout[-2000:] + done.stderr[-4000:])
            found = json.loads(line.removeprefix("RESULT "))
        print(
            f"{size:g} GB, {found['texts']:,} rows, {found['tokens'] / 1e6:,.0f} M tokens: anonymous memory peaks at"
            f" {found['anonymous'] / 2**20:,.0f} MiB ({found['before'] / 2**20:,.0f} before reading,"
            f" {(found['anonymous'] - found['before']) / found['texts']:,.0f} bytes a row), resident with file pages at"
            f" {found['resident'] / 2**20:,.0f} MiB; ready to train after {found['seconds']:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
