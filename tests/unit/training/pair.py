"""One of two processes that train small models together: `python pair.py FOLDER`, its rank in the environment."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import lightning.pytorch as pl
from safetensors.torch import save_file

from tests.unit.training import small
from tuneforge.adapter.lora import Lora
from tuneforge.errors import Preempted, TuneForgeError
from tuneforge.rows import Encoded
from tuneforge.sections import Average
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.kto import Kto
from tuneforge.strategy.sft import Sft
from tuneforge.training.fit import Fitted, fit

ROWS, STEPS = 45, 12
CASES = {
    "sft ddp": {},
    "sft_lora ddp": {},
    "dpo_lora ddp": {},
    "dpo fsdp": {},
    "sft_lora fsdp": {},
    "kto fsdp": {},
    "sft fsdp": {},
    "sft_averaged ddp": {},
    "sft_averaged fsdp": {},
    "sft_averaged fsdp stopped": {"steps": 5},
    "sft_averaged fsdp resumed": {"resume": "sft_averaged fsdp stopped"},
    "sft fsdp stopped": {"steps": 5},
    "sft fsdp stopped too": {"steps": 5},
    "sft fsdp resumed": {"resume": "sft fsdp stopped"},
    "sft ddp resumed": {"resume": "sft fsdp stopped too"},
    "sft ddp other_rows": {},
    "sft ddp other_model": {},
}
"""Name → steps, or the case that it continues. The last two are refused."""


def judged(n: int, seed: int = 0) -> list[Encoded]:
    """Answers that are wanted or not, each with another's, on which the KL term is estimated."""
    rows = small.rows(n, seed)
    return [
        Encoded({**row.parts, **{f"kl.{k}": v for k, v in rows[i - 1].parts.items()}}, {"desirable": float(i % 3 > 0)})
        for i, row in enumerate(rows)
    ]


def train(name: str, folder: Path, world: int, rank: int = 0, resume: str = "", steps: int = STEPS) -> Fitted | str:
    """Train one case; 8 rows per step, of which the last of an epoch has 5, in micro-batches of 2."""
    kind, sharing = name.split(" ")[:2]
    make = {"dpo": small.pairs, "kto": judged, "sft": small.rows}[kind[:3]]
    run = small.settings(
        strategy={"dpo": Dpo(), "kto": Kto(), "sft": Sft()}[kind[:3]],
        adapter=Lora() if kind.endswith("lora") else None,
        optimizer__learning_rate=1e-3,
        batch__size=2,
        batch__global_size=8,
        trainer__devices=str(world),
        trainer__strategy=sharing if world > 1 else "auto",
        trainer__max_epochs=2,
        trainer__val_check_interval=4,
        trainer__gradient_clip_val=0.5,
        checkpoint__every=5,
        early_stopping__patience=None,
        early_stopping__best=kind.endswith("averaged"),
        regularization__average=Average.ema if kind.endswith("averaged") else Average.none,
        resume=resume or None,
    )
    rows, held_out = make(ROWS), make(5, 9)
    model = small.llama(seed=1 if "other_model" in name and rank else 0)
    data = small.encoded(rows[:-1] + rows[:1] if "other_rows" in name and rank else rows)
    context = small.context(run, Path(resume) if resume else folder)
    try:
        return fit(run, small.loaded(model), data, small.encoded(held_out), False, context, [Stop(steps)])
    except Preempted as error:
        return str(error)


class Stop(pl.Callback):
    """Sends SIGTERM to rank 1, and to no other, after some steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: object) -> None:
        if module.tally.step == self.steps < STEPS and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def leave(fitted: Fitted, name: str, folder: Path) -> dict[str, Any]:
    """Write the weights, and give what else the test compares."""
    state = {k: v.detach().clone().contiguous() for k, v in fitted.model.state_dict().items()}
    save_file(state, folder / f"{name}.safetensors")
    return {"history": fitted.history, "steps": fitted.steps, "from": fitted.resumed_from}


def port(folder: Path, name: str, rank: int) -> str:
    """A port that is free now, found by the first process and told to the other in a file."""
    file = folder / f"{name}.port"
    if rank == 0:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            file.with_suffix(".new").write_text(str(free.getsockname()[1]))
        file.with_suffix(".new").replace(file)
    while not file.exists():
        time.sleep(0.01)
    return file.read_text()


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    said = {}
    for name, more in CASES.items():
        os.environ |= {"MASTER_PORT": port(folder, name, rank), "WORLD_SIZE": "2"}
        resume = str(folder / more["resume"]) if "resume" in more else ""
        try:
            fitted = train(name, folder / name, 2, rank, resume, more.get("steps", STEPS))
        except TuneForgeError as error:
            said[name] = str(error)
            continue
        if isinstance(fitted, str):
            said[name] = fitted
        elif rank == 0:
            said[name] = leave(fitted, name, folder)
    (folder / f"said-{rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
