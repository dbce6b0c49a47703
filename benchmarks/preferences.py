"""Preference pairs: the prompt computed once against two rows, and references computed once against every epoch.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/preferences.py

A Llama of 2.7 M parameters, random pairs of 300-token prompts and 60-token answers, batches of 4. Each figure is the
median of interleaved repetitions in this one process, in CPU-seconds; a ratio names what stands over what. The
references are of a LoRA run whose adapter can be turned off, so that both ways are possible. About a minute.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch

from tuneforge.adapter.full import Full
from tuneforge.adapter.lora import Lora
from tuneforge.context import RunContext
from tuneforge.optimizer.adamw import AdamW
from tuneforge.rows import Encoded
from tuneforge.scheduler.constant import Constant
from tuneforge.settings import Run
from tuneforge.strategy.dpo import Dpo
from tuneforge.training.batches.collate import collate
from tuneforge.training.step import TrainingStep

VOCABULARY, PROMPT, ANSWER, BATCH = 4096, 300, 60, 4


def model(width: int, layers: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=1024, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def pairs(n: int) -> list[Encoded]:
    draw = random.Random(0)

    def tokens(n: int) -> list[int]:
        return [draw.randrange(5, VOCABULARY) for _ in range(n)]

    found = []
    for _ in range(n):
        prompt = tokens(PROMPT)
        parts: dict[str, list[int]] = {}
        for side in ("chosen", "rejected"):
            answer = tokens(ANSWER)
            parts |= {f"{side}.input_ids": prompt + answer, f"{side}.labels": [-100] * PROMPT + answer}
        found.append(Encoded(parts))
    return found


def step_of(net: Any, adapter: Any, folder: Path) -> tuple[TrainingStep, Any]:
    run = Run(strategy=Dpo(), adapter=adapter, optimizer=AdamW(), scheduler=Constant())
    context = RunContext(run, folder)
    trained = run.adapter.apply(net, context)
    step = TrainingStep(run, trained, SimpleNamespace(pad_token_id=0), context)
    step.prove_parts()
    trained.train()
    return step, run.optimizer.build([{"params": [p for p in trained.parameters() if p.requires_grad]}], 1e-4)


def once(step: TrainingStep, optimizer: Any, batch: Any) -> None:
    """Forward, backward and optimizer of one batch."""
    with step.window([batch]):
        loss = step.run.strategy.loss(step.model, batch, step)
        loss.total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad()


def medians(ways: dict[str, Callable[[], None]], repeat: int) -> dict[str, float]:
    """CPU-seconds of each way, interleaved; the first round warms up."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}


def shared_prompt(net: Any, folder: Path, repeat: int) -> None:
    """Policy forward and backward with references at hand."""
    rows = pairs(BATCH)
    step, optimizer = step_of(net, Full(), folder)
    batch = collate(rows, 0) | {f"reference.{side}": torch.full((BATCH,), -500.0) for side in ("chosen", "rejected")}
    said = step.share_prompts(rows)
    assert step.shared.on, said

    def way(on: bool) -> Callable[[], None]:
        def run() -> None:
            step.shared.on = on
            once(step, optimizer, batch)

        return run

    seconds = medians({"two rows": way(False), "shared prompt": way(True)}, repeat)
    say("step", seconds, "two rows", "shared prompt", "speed of shared prompt / two rows", 1.5)


def references(net: Any, folder: Path, repeat: int, shared: bool) -> None:
    """An epoch beyond the first, LoRA, references from the row against the adapter turned off."""
    rows = pairs(2 * BATCH)
    step, optimizer = step_of(net, Lora(r=8), folder)
    step.share_prompts(rows)
    step.shared.on = shared
    plain = [collate(rows[i : i + BATCH], 0) for i in range(0, len(rows), BATCH)]
    known = [b | {f"reference.{s}": step.as_reference(b, s) for s in ("chosen", "rejected")} for b in plain]

    def epoch(batches: list[Any]) -> Callable[[], None]:
        def run() -> None:
            for batch in batches:
                once(step, optimizer, batch)

        return run

    seconds = medians({"recomputed": epoch(plain), "precomputed": epoch(known)}, repeat)
    form = "shared prompt" if shared else "two rows"
    saved = 1 - seconds["precomputed"] / seconds["recomputed"]
    print(f"epoch     {form:13}  " + "  ".join(f"{n} {s:.3f} s" for n, s in seconds.items()))
    print(f"          saved beyond the first epoch: {saved:.0%} of recomputed  (target 25%)")


def say(what: str, seconds: dict[str, float], base: str, ours: str, ratio: str, target: float) -> None:
    print(f"{what:10}" + "  ".join(f"{name} {s:.3f} s" for name, s in seconds.items()))
    print(f"          {ratio}: {seconds[base] / seconds[ours]:.2f}  (target {target})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    values = parser.parse_args()
    torch.set_num_threads(values.threads)
    size = sum(p.numel() for p in model(values.width, values.layers).parameters())
    print(
        f"Llama of {size / 1e6:.1f} M parameters, {BATCH} pairs of {PROMPT} + {ANSWER} tokens, {values.threads} threads"
    )
    with TemporaryDirectory() as folder:
        shared_prompt(model(values.width, values.layers), Path(folder), values.repeat)
        for shared in (False, True):
            references(model(values.width, values.layers), Path(folder), values.repeat, shared)


if __name__ == "__main__":
    main()
