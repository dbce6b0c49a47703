"""`python -m tuneforge.rank RUN_DIR`: one further process of a run, which trains and does nothing else.

It enters by the saved config, reads and encodes the same rows, and holds no record: rank 0 proves, evaluates,
writes and reports.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneforge import ranks, saved
from tuneforge.context import RunContext
from tuneforge.errors import TuneForgeError
from tuneforge.execute import adapted, callbacks
from tuneforge.process import quiet_libraries
from tuneforge.training.devices import world


def follow(overrides: Sequence[str]) -> int:
    """A process of torchrun or srun other than the first: waits for the first one's orders, and trains."""
    folder = ranks.shared_folder(overrides)
    while (given := ranks.orders(folder)) is None:
        time.sleep(0.2)
    with (folder / "logs" / f"rank-{world.current().rank}.txt").open("wb") as log:
        os.dup2(log.fileno(), 1)
    serve(folder, given)
    return 0


def serve(folder: Path, given: Mapping[str, Any]) -> None:
    """Load the run of the directory, prepare its rows and train with the others."""
    from tuneforge.preparation.prepare import prepare
    from tuneforge.training.fit import fit
    from tuneforge.training.text.encode import encode
    from tuneforge.training.text.held_out import askable

    run = saved.load(folder)
    run.resume, run.batch.size = given["resume"], given["batch_size"]
    context = RunContext(run, folder)
    quiet_libraries()
    prepared = prepare(run, context)
    context.labels = run.strategy.labels(prepared.train)
    loaded = adapted(run, run.model.load(run.strategy.head, context), prepared, context)
    train = encode(run, prepared.train, loaded.tokenizer, context)
    sets, _ = askable(run, prepared.held_out, loaded.tokenizer, context)
    watched = [row for held in sets if held.split == "validation" for row in held.rows]
    validation = encode(run, watched, loaded.tokenizer, context, "validation") if watched else None
    _say_ready()
    fit(
        run,
        loaded,
        train,
        validation,
        given["packed"],
        context,
        callbacks(run),
        grouped=given["grouped"],
        micro=given["micro"],
    )


def _say_ready() -> None:
    pipe = os.environ.get("TUNEFORGE_READY")
    if pipe is not None:
        os.write(int(pipe), b"1")
        os.close(int(pipe))


def _end_with(parent: int) -> None:
    """In a thread: end when the process that started this one is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> int:
    """The exit code; an expected error is one message on stderr, which rank 0 shows."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Not os.getppid(): while this process was importing, the first may have ended already.
    parent = int(os.environ.get("TUNEFORGE_PARENT") or os.getppid())
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    folder = Path(sys.argv[1])
    given = ranks.orders(folder)
    if given is None:
        sys.stderr.write(f"tuneforge: {folder}: there are no orders for this process; tuneforge itself starts it\n")
        return 2
    try:
        serve(folder, given)
    except TuneForgeError as error:
        sys.stderr.write(f"tuneforge: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
