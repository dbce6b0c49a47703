"""Checkpoints that are whole or not there, verified before use, without pickle.

One folder per checkpoint, `step-00000120/`: `tensors.safetensors`, `state.json`, and `manifest.json` with the
size and SHA-256 of both. It is written under a temporary name beside its place, every file and the folder
are synced to disk, and then renamed: at no moment does a half checkpoint bear a checkpoint's name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tuneforge.errors import TuneForgeError

if TYPE_CHECKING:
    from torch import Tensor

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
FORMAT = 1


class Saved(NamedTuple):
    """A checkpoint that was read: its optimizer step and the tree that was saved."""

    step: int
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, in `folder`; the newest `keep` are kept."""

    def __init__(self, folder: Path, keep: int, note: Callable[[str], None]) -> None:
        self.folder, self.keep, self.note = folder, max(1, keep), note

    def steps(self) -> list[int]:
        """Optimizer steps of the checkpoints that are there, oldest first."""
        found = (p.name.removeprefix("step-") for p in self.folder.glob("step-*") if p.is_dir())
        return sorted(int(name) for name in found if name.isdecimal())

    def path(self, step: int) -> Path:
        """Folder of the checkpoint of that step."""
        return self.folder / f"step-{step:08d}"

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write a tree of dicts, lists, tuples, numbers, strings, None and tensors.

        TuneForgeError, with the older checkpoints untouched, when the disk is full or cannot be written.
        """
        tensors: dict[str, Tensor] = {}
        text = json.dumps(_pack(state, tensors)).encode()
        need = len(text) + sum(t.numel() * t.element_size() for t in tensors.values())
        temporary = self.folder / f".step-{step:08d}.{os.getpid()}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            if shutil.disk_usage(self.folder).free < need:
                raise OSError("the disk is full")
            _write(temporary, tensors, text)
            target = self.path(step)
            if target.exists():
                shutil.rmtree(target)
            os.replace(temporary, target)
            _sync(self.folder)
        except Exception as error:  # safetensors raises its own kind for what the system says
            shutil.rmtree(temporary, ignore_errors=True)
            raise self._cannot(step, need, error) from error
        for old in self.steps()[: -self.keep]:
            shutil.rmtree(self.path(old))
        return target

    def newest(self) -> Saved | None:
        """The newest checkpoint that is whole; None where there is none at all.

        A damaged one is renamed to `….damaged`, said aloud, and the one before it is tried. TuneForgeError
        when all are damaged.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return Saved(step, self._read(self.path(step)))
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.note(f"checkpoint {self.path(step)} is damaged ({error}) and is not used")
                _set_aside(self.path(step))
        if steps:
            raise TuneForgeError(
                f"cannot resume: every checkpoint in {self.folder} is damaged (steps {', '.join(map(str, steps))});"
                " start a fresh run with: tuneforge run --from RUN_DIR"
            )
        return None

    def _read(self, path: Path) -> dict[str, Any]:
        from safetensors.torch import load_file

        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}, this version reads {FORMAT}")
        for name in (TENSORS, STATE):
            want = manifest["files"][name]
            if (path / name).stat().st_size != want["bytes"]:
                raise ValueError(f"{name} has {(path / name).stat().st_size} bytes instead of {want['bytes']}")
            if _sha256(path / name) != want["sha256"]:
                raise ValueError(f"the SHA-256 of {name} differs from the manifest's")
        tensors = load_file(path / TENSORS)
        state: dict[str, Any] = _unpack(json.loads((path / STATE).read_text(encoding="utf-8")), tensors)
        return state

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for left in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(left, ignore_errors=True)

    def _cannot(self, step: int, need: int, error: Exception) -> TuneForgeError:
        there = self.folder if self.folder.exists() else self.folder.parent
        free = shutil.disk_usage(there).free if there.exists() else 0
        older = self.steps()
        rest = f"the checkpoint of step {older[-1]} is intact" if older else "there is no earlier checkpoint"
        return TuneForgeError(
            f"cannot write the checkpoint of step {step} to {self.path(step)}: {error};"
            f" need {need:,} bytes, free {free:,} bytes; {rest}"
        )


def _write(folder: Path, tensors: Mapping[str, Tensor], text: bytes) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    save_file(dict(tensors), folder / TENSORS)
    (folder / STATE).write_bytes(text)
    files = {n: {"bytes": (folder / n).stat().st_size, "sha256": _sha256(folder / n)} for n in (TENSORS, STATE)}
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": files}, indent=1), encoding="utf-8")
    for path in (folder / TENSORS, folder / STATE, folder / MANIFEST, folder):
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _set_aside(path: Path) -> None:
    aside = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(path, aside)


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The tree as JSON; tensors go into `tensors` and leave their number behind."""
    from torch import Tensor

    if isinstance(value, Tensor):
        key = str(len(tensors))
        flat = value.detach().cpu().contiguous()
        shared = flat.untyped_storage().data_ptr() in {t.untyped_storage().data_ptr() for t in tensors.values()}
        tensors[key] = flat.clone() if shared else flat  # safetensors refuses tensors that share memory
        return {"tensor": key}
    if isinstance(value, Mapping):
        return {"dict": [[_pack(k, tensors), _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_pack(v, tensors) for v in value]}
    if isinstance(value, list):
        return [_pack(v, tensors) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TuneForgeError(f"a checkpoint cannot hold {type(value).__module__}.{type(value).__qualname__}")


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    (kind, inner), *_ = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "tuple":
        return tuple(_unpack(v, tensors) for v in inner)
    return {_unpack(k, tensors): _unpack(v, tensors) for k, v in inner}
