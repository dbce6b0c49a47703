"""GRPO on a job with a verifiable answer: which device is a ticket about? The reward is exact_match alone.

    python benchmarks/grpo_toy.py [--steps 30] [--seeds 0 1 2] [OVERRIDE ...]

The embedded tiny model answers the bundled tickets with a word, seldom the right one. Per seed: the mean reward of
the answers sampled in the first and in the last five steps, and greedy accuracy on tickets that training never saw,
before and after. Three seeds of 30 steps take about a minute on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

SETTINGS = (
    "strategy=grpo", "strategy.rewards=[exact_match]", "strategy.max_tokens=12", "strategy.generations=8",
    "batch.size=8", "optimizer.learning_rate=3e-4", "scheduler=constant", "validation=[]", "logger=[]",
    "trainer.accelerator=cpu", "trainer.log_every_n_steps=1", "strategy.loss_type=dr_grpo",
)  # fmt: skip


def tickets(folder: Path) -> tuple[Path, Path]:
    """Training and test files of the bundled job, with the device as the answer."""
    import tuneforge
    from tuneforge.context import RunContext
    from tuneforge.preparation.prepare import prepare

    run = tuneforge.compose()
    prepared = prepare(run, RunContext(run, folder))
    sets = {
        "train": [row for row in prepared.train if row.source == "data.helpdesk"],
        "test": next(held.rows for held in prepared.held_out if held.name == "helpdesk_test"),
    }
    for name, rows in sets.items():
        asked = [(row.columns["prompt"], json.loads(row.columns["completion"])["device"]) for row in rows]
        lines = [json.dumps({"prompt": prompt, "completion": device}) for prompt, device in asked]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "train.jsonl", folder / "test.jsonl"


def one(seed: int, steps: int, files: tuple[Path, Path], folder: Path, more: list[str]) -> dict[str, float]:
    """Rewards and accuracies of one seed."""
    import tuneforge
    from tuneforge.context import RunContext
    from tuneforge.evaluation.lm import HFLM
    from tuneforge.preparation.prepare import prepare
    from tuneforge.training.fit import fit
    from tuneforge.training.text.encode import encode

    train, test = files
    run = tuneforge.compose(
        [f"data={train}", f"test={test}", *SETTINGS, f"seed={seed}", f"trainer.max_steps={steps}", *more]
    )
    context = RunContext(run, folder / str(seed))
    prepared = prepare(run, context)
    loaded = run.model.load("causal_lm", context)
    judge, rows = context.evaluator("exact_match"), prepared.held_out[0].rows

    def accuracy(model: Any) -> float:
        found = judge.measure(HFLM("tuned", model, loaded.tokenizer), rows, context)
        return statistics.mean(one["exact_match"] for one in found)

    before = accuracy(loaded.model)
    fitted = fit(run, loaded, encode(run, prepared.train, loaded.tokenizer, context), None, False, context)
    rewards = [line["reward"] for line in fitted.history]
    return {
        "first": statistics.mean(rewards[:5]), "last": statistics.mean(rewards[-5:]), "before": before,
        "after": accuracy(fitted.model), "seconds": fitted.seconds,
    }  # fmt: skip


def main() -> None:
    """A line per seed."""
    import torch

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=30)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen, more = arguments.parse_known_args()
    torch.set_num_threads(1)
    print("seed   reward: first 5 steps   last 5 steps   held-out exact_match: before   after   seconds of training")
    with tempfile.TemporaryDirectory() as home:
        files = tickets(Path(home))
        for seed in chosen.seeds:
            got = one(seed, chosen.steps, files, Path(home), more)
            print(
                f"{seed:>4}   {got['first']:>22.3f}   {got['last']:>13.3f}   {got['before']:>27.3f}"
                f"   {got['after']:>5.3f}   {got['seconds']:.0f}"
            )


if __name__ == "__main__":
    main()
