"""The state of every random number generator that training draws from."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def capture() -> dict[str, Any]:
    """States of Python, NumPy, torch and each CUDA device, as numbers and tensors."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore(state: dict[str, Any]) -> None:
    """Put captured states back. CUDA states are used where the number of devices is the same."""
    name, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((name, np.asarray(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def of_all_processes(count: int) -> list[dict[str, Any]]:
    """`capture` of each of the run's `count` processes, in the order of their ranks."""
    states: list[Any] = [capture()] * count
    if count > 1:
        torch.distributed.all_gather_object(states, states[0])
    return states


def seed(number: int) -> None:
    """Seed all of them."""
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def seed_of(*numbers: int) -> int:
    """A seed, 63 bits, in which every number counts."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()) >> 1


def streams(seeds: Sequence[int]) -> list[torch.Generator]:
    """A generator per seed."""
    return [torch.Generator().manual_seed(number) for number in seeds]
