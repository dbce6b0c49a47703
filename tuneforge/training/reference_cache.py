"""Reference log-probabilities by content, shared by runs: a model's answers to rows do not change.

One folder per model as found, named by a hash of its weights, its config, the settings of adapters that it brings, the
precision and the versions of torch and transformers; in it files that are written whole under another name and then
renamed. A file holds keys (16 bytes: a hash of token ids and labels) and float64 values in nats. Damaged files are left
out, said aloud, and their rows computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from tuneforge.rows import Encoded
from tuneforge.training.bottleneck import inserted

EVERY = 30.0
"""Seconds after which what was computed is written, so that a run that is stopped loses no more."""
NO_FUNCTION = (
    "_name_or_path", "transformers_version", "base_model_name_or_path", "revision", "auto_mapping", "inference_mode",
    "peft_version",
)  # fmt: skip
"""Fields of configs on which no output depends."""


def fingerprint(model: Module, *further: str) -> str:
    """32 hex digits over all that determines the model's function, and over what else is given.

    Weights and buffers, scales of 4-bit weights, the config with its quantisation, configs of PEFT's adapters and which
    of them act, own bottleneck adapters, versions.
    """
    import transformers

    found = hashlib.sha256("\0".join([torch.__version__, transformers.__version__, *further]).encode())
    found.update(json.dumps(_settings(model), sort_keys=True, default=_plain).encode())
    with ThreadPoolExecutor() as threads:  # hashing lets other threads go on
        for digest in threads.map(_digest, _state(model)):
            found.update(digest)
    return found.hexdigest()[:32]


def _state(model: Module) -> Iterator[tuple[str, Any]]:
    """Names and values of weights, buffers and what scales 4-bit weights."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        yield name, tensor
        scales = getattr(tensor, "quant_state", None)
        if scales is not None:
            yield from ((f"{name}.{key}", value) for key, value in sorted(scales.as_dict().items()))


def _settings(model: Any) -> dict[str, Any]:
    """What determines the function beside weights."""
    peft = getattr(model, "peft_config", None) or {}
    return {
        "config": _stripped(model.config) if hasattr(model, "config") else None,
        "adapters": {name: _stripped(config) for name, config in peft.items()},
        "active": list(model.active_adapters) if peft else [],
        "bottleneck": [(str(adapter.activation), adapter.enabled) for adapter in inserted(model)],
    }


def _stripped(config: Any) -> dict[str, Any]:
    return {str(k): v for k, v in config.to_dict().items() if k not in NO_FUNCTION}


def _plain(value: Any) -> Any:
    """A set in order, which its text would not have; else the value's text."""
    return sorted(map(str, value)) if isinstance(value, set) else str(value)


def _digest(named: tuple[str, Any]) -> bytes:
    name, value = named
    if not isinstance(value, Tensor):
        return hashlib.sha256(f"{name} {value}".encode()).digest()
    found = hashlib.sha256(f"{name} {tuple(value.shape)} {value.dtype}".encode())
    found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.digest()


def row_key(row: Encoded, part: str) -> bytes:
    """16 bytes over the token ids and labels of one part of a row."""
    prefix = f"{part}." if part else ""
    ids, labels = (np.asarray(row.parts[prefix + name], dtype=np.int64) for name in ("input_ids", "labels"))
    return hashlib.sha256(np.concatenate([ids, labels]).tobytes()).digest()[:16]


class ReferenceCache:
    """What is known of one model, and what this run adds to it."""

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        self.folder, self.note = folder, note
        self.values: dict[bytes, float] = {}
        self._new: dict[bytes, float] = {}
        self._written = time.monotonic()
        for file in sorted(folder.glob("*.npz")):
            self._read(file)

    def add(self, key: bytes, value: float) -> None:
        """Remember a value; from time to time all new ones are written."""
        self.values[key] = self._new[key] = value
        if time.monotonic() - self._written > EVERY:
            self.write()

    def write(self) -> None:
        """Write what is new. A cache that cannot be written is said, and harms nothing."""
        self._written = time.monotonic()
        if not self._new:
            return
        name = uuid.uuid4().hex
        temporary = self.folder / f".{name}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                keys = np.frombuffer(b"".join(self._new), dtype=np.uint8).reshape(-1, 16)
                np.savez(file, keys=keys, values=np.asarray(list(self._new.values()), dtype=np.float64))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.folder / f"{name}.npz")
        except OSError as error:
            temporary.unlink(missing_ok=True)
            self.note(f"reference log-probabilities are not kept for later runs: {error}")
        self._new = {}

    def _read(self, file: Path) -> None:
        try:
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as found:
                keys, values = found["keys"], found["values"]
            if keys.shape != (len(values), 16) or keys.dtype != np.uint8 or values.dtype != np.float64:
                raise ValueError("other contents than expected")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            self.note(f"{file} is damaged ({error}); its reference log-probabilities are computed again")
            return
        self.values |= {key.tobytes(): float(value) for key, value in zip(keys, values, strict=True)}
