"""The files that a `path` means: one, those of a folder or a pattern, the members of an archive."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tuneforge.components import Context
from tuneforge.data.archive import is_archive, member_names, members
from tuneforge.data.paths import BUNDLED, located
from tuneforge.data.reading import File, Member, existing
from tuneforge.errors import ConfigError
from tuneforge.rows import Kept, Rejected, Row

_PATTERN = re.compile(r"[*?\[]")


class Input(NamedTuple):
    """One file to read: `name` is what its rows bear as `file`."""

    name: str
    file: File


def read_files(path: str, suffixes: tuple[str, ...], context: Context, read: Callable[[Input], Kept]) -> Kept:
    """The rows of every file that `path` means, in sorted order; those of an archive in its own.

    Of a folder and an archive the files with one of `suffixes` are read, what is left out is said; of a pattern all.
    What is wrong with one of several files is a rejected row; where it is wrong with all of them, it is raised.
    """
    if not _several(path):
        yield from read(Input(path, existing(path)))
        return
    left: Counter[str] = Counter()
    error, count = None, 0
    for found in inputs(path, suffixes, left):
        if isinstance(found, Rejected):
            yield found
            continue
        try:
            yield from read(found._replace(file=existing(found.name)) if isinstance(found.file, Path) else found)
            count += 1
        except ConfigError as failed:
            error = error or failed
            yield Rejected(Row(columns={}, file=found.name, line=1), f"unreadable file: {failed}")
    if error and not count:
        raise error
    context.note(f"{path}: {count:,} files are read{_said(left)}")


def inputs(path: str, suffixes: tuple[str, ...], left: Counter[str]) -> Iterator[Input | Rejected]:
    """The files that `path` means; members of archives that cannot be read are Rejected. ConfigError for none.

    `left` counts, by suffix, those that are left out.
    """
    if not _several(path):
        yield Input(path, existing(path))
        return
    folder, empty = located(path).is_dir(), True

    def wanted(name: str) -> bool:
        if suffix(name) not in suffixes:
            left[suffix(name)] += 1
        return suffix(name) in suffixes

    for name, file in _listed(path):
        if is_archive(name):
            for found in members(file, name, wanted):
                empty = False
                yield Input(found.name, found) if isinstance(found, Member) else found
        elif not folder or wanted(name):
            empty = False
            yield Input(name, file)
    if empty:
        raise ConfigError(_nothing(path, suffixes, left))


def suffixes_in(path: str) -> Counter[str] | None:
    """Suffix: how many files a folder, a pattern or an archive has with it; None where `path` is no such thing."""
    if not _several(path):
        return None
    found: Counter[str] = Counter()
    for name, file in _listed(path):
        found.update(map(suffix, member_names(file) if is_archive(name) else [name]))
    return found


def suffix(name: str) -> str:
    """The suffix of a file without its dot, in lower case; `.gz` does not count."""
    *_, last = re.sub(r"\.gz$", "", name.lower().rpartition("/")[2]).split(".") if "." in name else [""]
    return last


def saved_by_datasets(path: str) -> bool:
    """Whether a folder is what the library datasets writes with `save_to_disk`."""
    folder = located(path)
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _several(path: str) -> bool:
    if not path or path.startswith(BUNDLED):
        return False
    file = located(path)
    return file.is_dir() or (is_archive(path) and file.is_file()) or (not file.exists() and bool(_PATTERN.search(path)))


def _listed(path: str) -> Iterator[tuple[str, Path]]:
    """(name, file) of each file of a folder or a pattern, sorted; hidden ones are passed over."""
    file = located(path)
    if file.is_dir():
        inside = sorted(one.relative_to(file) for one in file.rglob("*") if one.is_file())
        seen = [one for one in inside if not any(part.startswith(".") for part in one.parts)]
        yield from ((f"{path.rstrip('/')}/{one.as_posix()}", file / one) for one in seen)
    elif file.exists():
        yield path, file
    else:
        yield from ((one, Path(one)) for one in sorted(glob.glob(str(file), recursive=True)) if Path(one).is_file())


def _nothing(path: str, suffixes: tuple[str, ...], left: Counter[str]) -> str:
    """Why a path that may mean several files means none."""
    file = located(path)
    if file.is_dir() or is_archive(path):
        what = "is a directory" if file.is_dir() else "is an archive"
        return f"{path} {what} without a file that is read here (.{', .'.join(suffixes)}){_said(left)}"
    return f"{path}: no file matches"


def _said(left: Counter[str]) -> str:
    kinds = ", ".join(f"{count:,} {'.' + kind if kind else 'without suffix'}" for kind, count in left.most_common())
    return f"; left out: {kinds}" if kinds else ""
