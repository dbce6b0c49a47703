"""Encoded rows kept on disk, named by everything that they depend on, and shared by runs.

One Arrow file per set in `<cache>/tokens`, ended by its SHA-256. It is written under another name and renamed, so that
runs that build the same one at once do not disturb each other. Rows read from it are views of the mapped file.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tuneforge.preparation.view import View
from tuneforge.rows import Rejected, Row, content_hash
from tuneforge.training.text.spool import EncodedRows, Lists

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.components import Context
    from tuneforge.settings import Run
    from tuneforge.training.text.encode import EncodedSet

FEWEST = 500
"""Rows from which a set is kept: fewer are encoded as fast as they are read."""
DIGEST = 32
COUNTS = ("tokens", "loss_tokens", "stop_trained", "literal", "chunked", "texts", "max_length", "by_source")
SIZES = ("tokens", "items")
KNOWN = {"labels", "progress"}
"""What a strategy may ask of the context: labels are part of the name."""


class Watched:
    """A context that remembers what was asked of it: what depends on more than the name says is not kept."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.asked.add(name)
        return getattr(self._context, name)


class Placed:
    """A context whose notes begin with the set that they are about."""

    def __init__(self, context: Context, place: str) -> None:
        self._context, self._place = context, place

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def note(self, text: str, **numbers: float) -> None:
        """Said of that set."""
        self._context.note(f"{self._place}: {text}", **numbers)


class TokenCache:
    """The place of one set of rows encoded by one strategy."""

    def __init__(self, run: Run, rows: Sequence[Row], tokenizer: Tokenizer, context: Context, limit: int) -> None:
        self.rows, self.context = rows, context
        few = len(rows) < FEWEST
        self.path = context.cache / "tokens" / f"{'' if few else _name(run, rows, tokenizer, context, limit)}.arrow"

    def load(self) -> EncodedSet | None:
        """What stands there; None where nothing does. A damaged file is removed, aloud."""
        if len(self.rows) < FEWEST:
            return None
        try:
            found = _read(self.path, self.rows)
            os.utime(self.path)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            self.context.note(f"the token cache cannot be used: {error}")
            return None
        except (OSError, ValueError, KeyError, IndexError, pa.ArrowException) as error:
            self.context.note(f"cached tokens in {self.path} are damaged ({error}); they are made anew")
            self.path.unlink(missing_ok=True)
            return None
        return found

    def save(self, encoded: EncodedSet, watched: Watched) -> EncodedSet:
        """The same set, read back from disk; itself where it is small, asked for more, or the disk does not take it."""
        if len(self.rows) < FEWEST or watched.asked - KNOWN:
            return encoded
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.{id(encoded)}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _write(temporary, encoded)
            os.replace(temporary, self.path)
            return _read(self.path, self.rows, verify=False)
        except OSError as error:
            self.context.note(f"tokens are not cached: {error}; TUNEFORGE_CACHE names another place")
            return encoded
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _name(run: Run, rows: Sequence[Row], tokenizer: Tokenizer, context: Context, limit: int) -> str:
    found = hashlib.sha256()
    facts = {
        "strategy": repr(run.strategy),  # with the classes of components that it holds
        "code": [_code(), _source(type(run.strategy))],
        "tokenizer": _identity(tokenizer),
        "labels": list(context.labels),
        "limit": limit,
    }
    found.update(json.dumps(facts, sort_keys=True, default=str).encode())
    for row in rows:
        found.update(f"\n{content_hash(row.columns)} {row.source} {row.group}".encode())
    return found.hexdigest()[:40]


@cache
def _code() -> list[str]:
    """What makes tokens of rows: this package's own files and the libraries' versions."""
    here = hashlib.sha256()
    root = Path(__file__).parent
    for file in sorted([*root.glob("*.py"), *root.parent.glob("*.py")]):
        here.update(file.read_bytes())
    return [here.hexdigest(), *(_version(name) for name in ("transformers", "tokenizers", "pyarrow"))]


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name


def _source(cls: type) -> str:
    """A hash of the folders in which a class and its bases are written."""
    folders = {Path(inspect.getfile(base)).parent for base in cls.__mro__ if base.__module__ != "builtins"}
    files = sorted(file for folder in folders for file in folder.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _identity(tokenizer: Any) -> list[str]:
    whole = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else json.dumps(tokenizer.get_vocab())
    rest = [tokenizer.special_tokens_map, tokenizer.init_kwargs, tokenizer.chat_template, type(tokenizer).__name__]
    return [
        hashlib.sha256(json.dumps(part, sort_keys=True, default=str).encode()).hexdigest() for part in (whole, rest)
    ]


def _write(path: Path, encoded: EncodedSet) -> None:
    rows = encoded.rows
    assert isinstance(rows, EncodedRows)
    columns: dict[str, Any] = {"source": pa.array(encoded.places)}
    columns |= {name: pa.array(encoded.sizes[:, i]) for i, name in enumerate(SIZES)}
    for name, lists in rows.lists.items():
        missing = None if lists.present is None else pa.array(~lists.present)
        columns[f"part {name}"] = pa.LargeListArray.from_arrays(
            pa.array(lists.offsets), pa.array(lists.values), mask=missing
        )
    columns |= {f"extra {name}": pa.array(values) for name, values in rows.extras.items()}
    counts = {name: getattr(encoded, name) for name in COUNTS} | {"stops": list(encoded.stops.items())}
    reasons = [one.reason for one in encoded.rejected]
    counts["rejected"] = list(zip(encoded.rejected_places, reasons, strict=True))
    table = pa.table(columns).replace_schema_metadata({"counts": json.dumps(counts)})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    digest = _digest(path)
    with path.open("ab") as end:
        end.write(digest)
        end.flush()
        os.fsync(end.fileno())


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _read(path: Path, rows: Sequence[Row], verify: bool = True) -> EncodedSet:
    from tuneforge.training.text.encode import EncodedSet

    if not path.exists():
        raise FileNotFoundError(path)
    size = path.stat().st_size - DIGEST
    if size <= 0:
        raise ValueError("it is empty")
    mapped = pa.memory_map(str(path))
    content, digest = mapped.read_buffer(size), mapped.read(DIGEST)
    if verify and hashlib.sha256(content).digest() != digest:
        raise ValueError("its SHA-256 is another")
    table = pa.ipc.open_file(content).read_all()
    counts = json.loads(table.schema.metadata[b"counts"])
    parts = {n.removeprefix("part "): _lists(table[n]) for n in table.column_names if n.startswith("part ")}
    extras = {n.removeprefix("extra "): table[n].to_numpy() for n in table.column_names if n.startswith("extra ")}
    found = EncodedSet(**{name: counts[name] for name in COUNTS}, cached=True)
    found.rows = EncodedRows(len(table), parts, extras)
    found.places = table["source"].to_numpy()
    found.sizes = np.stack([table[name].to_numpy() for name in SIZES], axis=1)
    found.sources = View(rows, found.places)
    found.stops = Counter(dict(counts["stops"]))
    found.rejected = [Rejected(rows[at], reason) for at, reason in counts["rejected"]]
    found.rejected_places = [at for at, _ in counts["rejected"]]
    return found


def _lists(column: Any) -> Lists:
    chunk = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    present = chunk.is_valid().to_numpy(zero_copy_only=False) if chunk.null_count else None
    return Lists(chunk.offsets.to_numpy(), chunk.values.to_numpy(), present)
