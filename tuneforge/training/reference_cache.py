"""Reference log-probabilities by content, shared by runs: a model's answers to rows do not change.

One folder per model as found, named by a hash of its weights, its config, the precision and the versions of
torch and transformers; in it files that are written whole under another name and then renamed. A file holds
keys (16 bytes: a hash of token ids and labels) and float64 values in nats. Damaged files are left out, said
aloud, and their rows computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import Module

from tuneforge.rows import Encoded

EVERY = 30.0
"""Seconds after which what was computed is written, so that a run that is stopped loses no more."""


def fingerprint(model: Module, *further: str) -> str:
    """32 hex digits over every weight and buffer of the model, its config, versions and what else is given."""
    import transformers

    found = hashlib.sha256("\0".join([torch.__version__, transformers.__version__, *further]).encode())
    config = getattr(model, "config", None)
    if config is not None:
        values = {k: v for k, v in config.to_dict().items() if k not in ("_name_or_path", "transformers_version")}
        found.update(json.dumps(values, sort_keys=True, default=str).encode())
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:32]


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
