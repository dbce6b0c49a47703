"""Whether all processes are about to train the same: rows, config, seed, versions and weights."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tuneforge.errors import TuneForgeError
from tuneforge.training.devices import world

if TYPE_CHECKING:
    from torch.nn import Module

    from tuneforge.rows import Encoded
    from tuneforge.settings import Run
    from tuneforge.training.text.encode import EncodedSet

LIBRARIES = ("tuneforge", "torch", "lightning", "transformers", "peft")


def require(run: Run, folder: Path, model: Module, train: EncodedSet, validation: EncodedSet | None) -> None:
    """TuneForgeError in every process, naming the ranks that differ from rank 0 and in what."""
    everyone = world.from_all(facts(run, folder, model, train, validation))
    found = [text for rank, theirs in enumerate(everyone) for text in differences(rank, theirs, everyone[0])]
    if found:
        raise TuneForgeError("the processes do not agree on what they train:\n  " + "\n  ".join(found))


def facts(run: Run, folder: Path, model: Module, train: EncodedSet, validation: EncodedSet | None) -> Mapping[str, str]:
    """What must be the same everywhere, as text that can be shown."""
    files = [folder / name for name in ("config.yaml", "types.json")]
    config = b"".join(file.read_bytes() for file in files if file.exists())
    versions = [f"{name} {metadata.version(name)}" for name in LIBRARIES]
    return {
        "training rows": _rows(train.rows),
        "validation rows": _rows(validation.rows if validation else ()),
        "config": _short(hashlib.sha256(config)),
        "seed": str(run.seed),
        "versions": ", ".join([f"python {platform.python_version()}", *versions]),
        "model weights": _weights(model),
    }


def differences(rank: int, theirs: Mapping[str, str], first: Mapping[str, str]) -> list[str]:
    """One line per fact in which a rank differs from rank 0."""
    return [
        f"rank {rank}: other {name} ({theirs[name]}) than rank 0 ({first[name]})"
        for name in first
        if theirs[name] != first[name]
    ]


def _rows(rows: Sequence[Encoded]) -> str:
    found = hashlib.sha256()
    for row in rows:
        found.update(repr((sorted(row.parts.items()), sorted(row.extras.items()))).encode())
    return f"{len(rows):,}, {_short(found)}"


def _weights(model: Module) -> str:
    """Names, shapes, types and sums: enough to tell another model, cheap enough for a large one."""
    found = hashlib.sha256()
    for name, tensor in model.named_parameters():
        some = tensor.detach().flatten()[:: max(1, tensor.numel() // 4096)]
        total = float(some.double().sum()) if torch.is_floating_point(some) else 0.0
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} {total!r}".encode())
    return _short(found)


def _short(found: hashlib._Hash) -> str:
    return found.hexdigest()[:12]
