"""`python trainee.py FOLDER MOMENTS [SEED]`: train straight, then kill and resume at random moments; one JSON line.

Children are forked from this one process, whose imports are done, and are truly killed (SIGKILL). The run has
dropout, noisy embeddings, averaged weights of which the best are kept, packing, accumulation 2, two epochs and
validation. Reported: for each moment, how long the child lived, the step it resumed from, and whether final weights
and every logged loss equal those of the straight run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import peft  # noqa: F401  (so that no child spends its life importing)

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.unit.training import small
from tuneforge.sections import Average
from tuneforge.training.fit import fit

CHANGING = {"speed"}
"""What may differ between two runs: measured time."""


def train(folder: Path, resume: bool, adapter: str) -> dict[str, Any]:
    run = small.settings(
        batch__size=2, batch__global_size=4, trainer__max_epochs=2, trainer__val_check_interval=3, checkpoint__every=2,
        resume=str(folder) if resume else None, early_stopping__patience=None,
        regularization__average=Average.ema, regularization__neftune_alpha=5.0,
    )  # fmt: skip
    if adapter == "lora":
        from tuneforge.adapter.lora import Lora

        run.adapter = Lora(r=4, dropout=0.1)
    model = small.llama(dropout=0.1, hidden_size=64, intermediate_size=128)
    data, validation = small.encoded(small.rows(220)), small.encoded(small.rows(8, seed=1))
    fitted = fit(run, small.loaded(model), data, validation, True, small.context(run, folder))
    history = [{k: v for k, v in line.items() if k not in CHANGING} for line in fitted.history]
    log = [line.split(",")[:2] for line in (folder / "logs/metrics.csv").read_text().splitlines()]
    counts = [fitted.steps, fitted.tokens, fitted.loss_tokens]
    return {"weights": small.digest(fitted.model), "history": history, "log": log, "counts": counts,
            "resumed": fitted.resumed_from}  # fmt: skip


def child(folder: Path, resume: bool, adapter: str) -> int:
    folder.mkdir(exist_ok=True)
    number = os.fork()
    if number:
        return number
    try:
        os.dup2(os.open(folder / "out.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
        os.dup2(1, 2)
        result = train(folder, resume, adapter)
        temporary = folder / "result.tmp"
        temporary.write_text(json.dumps(result))
        temporary.rename(folder / "result.json")
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def finish(folder: Path, resume: bool, adapter: str) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    code = os.waitpid(child(folder, resume, adapter), 0)[1]
    if code:
        raise SystemExit(f"a child failed:\n{(folder / 'out.txt').read_text()}")
    return json.loads((folder / "result.json").read_text()), time.monotonic() - began


def main(folder: Path, moments: int, seed: int) -> None:
    draw, report = random.Random(seed), []
    straight, seconds = {}, {}
    for adapter in ("full", "lora"):
        finish(folder / f"warm-{adapter}", False, adapter)
        straight[adapter], seconds[adapter] = finish(folder / f"straight-{adapter}", False, adapter)
    for moment in range(moments):
        adapter = ("full", "lora")[moment % 2]
        place, lived, resume = folder / f"killed-{moment}", [], False
        for _ in range(1 + moment % 3):  # some are killed again while they resume
            number = child(place, resume, adapter)
            lived.append(round(draw.uniform(0.1, 1.0) * seconds[adapter], 3))
            time.sleep(lived[-1])
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
            resume = True
        result, _ = finish(place, True, adapter)
        resumed = result.pop("resumed")
        equal = result == {k: v for k, v in straight[adapter].items() if k != "resumed"}
        report.append({"adapter": adapter, "lived": lived, "resumed": resumed, "equal": equal})
    print(json.dumps({"seconds": seconds, "steps": straight["full"]["counts"][0], "moments": report}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
