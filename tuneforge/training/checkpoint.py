"""Checkpoints that are whole or not there, verified before use, without pickle.

One folder per checkpoint, `step-00000120/`: `tensors.safetensors`, `state.json`, and `manifest.json` with the
size and SHA-256 of both. It is written under a temporary name beside its place, every file and the folder
are synced to disk, and then renamed: at no moment does a half checkpoint bear a checkpoint's name.

Where devices share a model out, each writes its rows into a file of its own, `tensors-00001.safetensors` for
rank 1; the state names the files of a tensor, so that any number of devices can read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tuneforge.errors import TuneForgeError
from tuneforge.training.devices import world

if TYPE_CHECKING:
    from torch import Tensor

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
FORMAT = 2
Files = dict[str, dict[str, Any]]
"""Name → bytes and sha256."""
T = TypeVar("T")


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
        """Write a tree of dicts, lists, tuples, numbers, strings, None and tensors; every process calls it.

        TuneForgeError in all of them, with the older checkpoints untouched, when the disk is full or cannot be
        written.
        """
        rank, devices = world.place()
        packing = _Packing(rank, devices)
        text = json.dumps(packing.tree(state)).encode()
        tensors = packing.tensors
        need = sum(world.from_all(sum(t.numel() * t.element_size() for t in tensors.values()))) + len(text)
        temporary = self.folder / f".step-{step:08d}.tmp"

        def write() -> Files:
            content = {shared_name(rank): tensors} if tensors or rank == 0 else {}
            first = {STATE: text} if rank == 0 else {}
            return {name: _write(temporary / name, what) for name, what in (content | first).items()}

        try:
            _together(lambda: self._open(temporary, need) if rank == 0 else None)
            written = _together(write)
            files = {name: facts for those in written for name, facts in those.items()}
            _together(lambda: self._close(step, temporary, files) if rank == 0 else None)
        except Exception as error:  # safetensors raises its own kind for what the system says
            if rank == 0:
                shutil.rmtree(temporary, ignore_errors=True)
            raise self._cannot(step, need, error) from error
        return self.path(step)

    def _open(self, temporary: Path, need: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".step-*.tmp"):  # what a killed process left half written
            shutil.rmtree(left, ignore_errors=True)
        if shutil.disk_usage(self.folder).free < need:
            raise OSError("the disk is full")
        temporary.mkdir()

    def _close(self, step: int, temporary: Path, files: Files) -> None:
        """Add the manifest, put the folder in its place and remove the oldest."""
        _write(temporary / MANIFEST, json.dumps({"format": FORMAT, "files": files}, indent=1).encode())
        _sync(temporary)
        target = self.path(step)
        if target.exists():
            shutil.rmtree(target)
        os.replace(temporary, target)
        _sync(self.folder)
        for old in self.steps()[: -self.keep]:
            shutil.rmtree(self.path(old))

    def newest(self) -> Saved | None:
        """The newest checkpoint that is whole; None where there is none at all.

        A damaged one is renamed to `….damaged`, said aloud, and the one before it is tried. TuneForgeError
        when all are damaged.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return Saved(step, self.read(step))
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.note(f"checkpoint {self.path(step)} is damaged ({error}) and is not used")
                _set_aside(self.path(step))
        if steps:
            raise TuneForgeError(
                f"cannot resume: every checkpoint in {self.folder} is damaged (steps {', '.join(map(str, steps))});"
                f" start a fresh run with: tuneforge --from {self.folder.parent}"
            )
        return None

    def read(self, step: int) -> dict[str, Any]:
        """What was saved of that step, verified; tensors that were shared out are read when they are needed.

        OSError, ValueError, KeyError or TypeError where it is not there, or damaged.
        """
        from safetensors.torch import load_file

        path = self.path(step)
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}, this version reads {FORMAT}")
        for name, want in manifest["files"].items():
            if (path / name).stat().st_size != want["bytes"]:
                raise ValueError(f"{name} has {(path / name).stat().st_size} bytes instead of {want['bytes']}")
            if _sha256(path / name) != want["sha256"]:
                raise ValueError(f"the SHA-256 of {name} differs from the manifest's")
        tensors = load_file(path / TENSORS)
        state: dict[str, Any] = _unpack(json.loads((path / STATE).read_text(encoding="utf-8")), tensors, path)
        return state

    def _cannot(self, step: int, need: int, error: Exception) -> TuneForgeError:
        there = self.folder if self.folder.exists() else self.folder.parent
        free = shutil.disk_usage(there).free if there.exists() else 0
        older = self.steps()
        rest = f"the checkpoint of step {older[-1]} is intact" if older else "there is no earlier checkpoint"
        return TuneForgeError(
            f"cannot write the checkpoint of step {step} to {self.path(step)}: {error};"
            f" need {need:,} bytes, free {free:,} bytes; {rest}"
        )


def shared_name(rank: int) -> str:
    """The file of one rank's tensors."""
    return TENSORS if rank == 0 else f"tensors-{rank:05d}.safetensors"


def _together(work: Callable[[], T]) -> list[T]:
    """What every process made of its own work; where one failed, an error in all."""
    error: Exception | None = None
    made: Any = None
    try:
        made = work()
    except Exception as failure:
        error = failure
    found = world.from_all((str(error or ""), made))
    if error is not None:
        raise error
    if failed := next((text for text, _ in found if text), ""):
        raise OSError(failed)
    return [made for _, made in found]


def _write(path: Path, content: Mapping[str, Tensor] | bytes) -> dict[str, Any]:
    """Write and sync a file; its size and SHA-256."""
    from safetensors.torch import save_file

    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_file(dict(content), path)
    _sync(path)
    return {"bytes": path.stat().st_size, "sha256": _sha256(path)}


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


class _Packing:
    """A tree as JSON; each tensor leaves its number behind, and one that is shared out its shape too.

    Rank 0 keeps all tensors, another rank only its rows of those that are shared out; all number them alike.
    """

    def __init__(self, rank: int, devices: int) -> None:
        self.rank, self.devices = rank, devices
        self.number = 0
        self.tensors: dict[str, Tensor] = {}

    def tree(self, value: Any) -> Any:
        """The tree without its tensors."""
        from torch import Tensor

        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, Mapping):
            return {"dict": [[self.tree(k), self.tree(v)] for k, v in value.items()]}
        if isinstance(value, tuple):
            return {"tuple": [self.tree(v) for v in value]}
        if isinstance(value, list):
            return [self.tree(v) for v in value]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TuneForgeError(f"a checkpoint cannot hold {type(value).__module__}.{type(value).__qualname__}")

    def _tensor(self, value: Tensor) -> dict[str, Any]:
        from tuneforge.training.devices.shares import is_shared, whole

        key, shared = str(self.number), is_shared(value)
        self.number += 1
        mine: Any = value.to_local() if shared else whole(value)  # type: ignore[attr-defined]
        if shared or self.rank == 0:
            flat = mine.detach().cpu().contiguous()
            again = flat.untyped_storage().data_ptr() in {t.untyped_storage().data_ptr() for t in self.tensors.values()}
            self.tensors[key] = flat.clone() if again else flat  # safetensors refuses tensors that share memory
        return {"shared": [key, list(value.shape), self.devices]} if shared else {"tensor": key}


def _unpack(value: Any, tensors: Mapping[str, Tensor], path: Path) -> Any:
    from tuneforge.training.devices.shares import Stored

    if isinstance(value, list):
        return [_unpack(v, tensors, path) for v in value]
    if not isinstance(value, dict):
        return value
    (kind, inner), *_ = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "shared":
        key, shape, devices = inner
        return Stored([path / shared_name(rank) for rank in range(devices)], key, tuple(shape))
    if kind == "tuple":
        return tuple(_unpack(v, tensors, path) for v in inner)
    return {_unpack(k, tensors, path): _unpack(v, tensors, path) for k, v in inner}
