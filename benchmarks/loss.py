"""Cross entropy over large vocabularies: memory and CPU seconds of our loss, torch's two, and a checkpointed one.

    python benchmarks/loss.py [--vocabulary 32000 128000] [--tokens 1024] [--width 512] [--repeats 5]

Each variant is a process of its own. Memory is the growth of the peak resident set over what stood before the
first step, the head's gradient included where the head trains. `lora`: the head is frozen. `each`: one
log-probability per token, whose upstream gradients are known only after the forward pass, as preferences need.
`any head`: the way for heads that are no plain linear layer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

VARIANTS = (
    "naive",
    "torch linear_cross_entropy",
    "checkpoint per chunk",
    "tuneforge",
    "tuneforge each",
    "tuneforge any head",
)


def naive(head: torch.nn.Linear, states: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(head(states).float(), targets, reduction="sum")


def run(variant: str, states: Tensor, head: torch.nn.Linear, targets: Tensor) -> Tensor:
    from tuneforge.training.loss import chunked_head, likelihood, linear_cross_entropy

    if variant == "naive":
        return naive(head, states, targets)
    size = likelihood.chunk(head.out_features, states.device)
    if variant == "torch linear_cross_entropy":
        options = torch.nn.LinearCrossEntropyOptions()
        return functional.linear_cross_entropy(states, head.weight, targets, reduction="sum", options=options)
    if variant == "checkpoint per chunk":
        pieces = zip(states.split(size), targets.split(size), strict=True)
        return sum(checkpoint(naive, head, s, t, use_reentrant=False) for s, t in pieces)  # type: ignore[return-value]
    if variant == "tuneforge any head":
        return -chunked_head.scores(head, states, targets, size).sum()
    if variant == "tuneforge":
        return -linear_cross_entropy.likelihood(states, head.weight, None, targets, size)
    return -linear_cross_entropy.scores(states, head.weight, None, targets, size).sum()


def resident(key: str) -> int:
    """Bytes of the resident set, now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def measure(variant: str, vocabulary: int, tokens: int, width: int, repeats: int, lora: bool) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    head = torch.nn.Linear(width, vocabulary, bias=False).requires_grad_(not lora)
    states, targets = torch.randn(tokens, width).requires_grad_(), torch.randint(0, vocabulary, (tokens,))
    run(variant, states[:200].detach().requires_grad_(), head, targets[:200]).backward()
    head.weight.grad = None
    before, took = resident("VmRSS"), []
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(repeats):
        states.grad = head.weight.grad = None
        began = time.process_time()
        loss = run(variant, states, head, targets)
        loss.backward()
        took.append(time.process_time() - began)
    print(json.dumps({"seconds": min(took), "bytes": resident("VmHWM") - before, "loss": loss.item()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[32_000, 128_000])
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", nargs=3, metavar=("VARIANT", "VOCABULARY", "LORA"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        variant, vocabulary, lora = given.one
        return measure(variant, int(vocabulary), given.tokens, given.width, given.repeats, lora == "lora")
    print(f"{given.tokens} tokens, width {given.width}, float32, one thread, best of {given.repeats}")
    print(f"{'vocabulary':>10}  {'head':6}  {'variant':28}{'MiB':>8}{'of naive':>10}{'CPU-s':>9}{'of naive':>10}")
    for vocabulary in given.vocabulary:
        for head in ("trains", "lora"):
            table(vocabulary, head, given)
    return None


def table(vocabulary: int, head: str, given: argparse.Namespace) -> None:
    found = {}
    for variant in VARIANTS:
        sizes = ["--tokens", str(given.tokens), "--width", str(given.width), "--repeats", str(given.repeats)]
        command = [sys.executable, __file__, *sizes, "--one", variant, str(vocabulary), head]
        found[variant] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    naive = found["naive"]
    for variant, one in found.items():
        assert abs(one["loss"] - naive["loss"]) < 1e-5 * abs(naive["loss"]), variant
        memory, speed = one["bytes"] / naive["bytes"], one["seconds"] / naive["seconds"]
        size = one["bytes"] / 2**20
        print(
            f"{vocabulary:10,}  {head:6}  {variant:28}{size:8.0f}{memory:10.2f}{one['seconds']:9.2f}{speed:10.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
