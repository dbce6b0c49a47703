"""The members of an archive as files in memory. Nothing is unpacked to disk, no link is followed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from tuneforge.data.reading import Member
from tuneforge.errors import ConfigError
from tuneforge.rows import Rejected, Row

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
"""Suffixes of archives."""

MAX_MEMBER_BYTES = 256 * 1024 * 1024
"""Largest member, in bytes when unpacked; a larger one is rejected without being held in memory."""

LISTED = 1000
"""Members that are looked at to see what an archive holds."""

BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)

Wanted = Callable[[str], bool]
Found = Iterator[Member | Rejected]


def is_archive(name: str) -> bool:
    """Whether the name is that of an archive."""
    return name.lower().endswith(ARCHIVES)


def member_names(archive: Path) -> list[str]:
    """Names of the first files in an archive; ConfigError for what is none."""
    found = []
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                return [info.filename for info in opened.infolist()[:LISTED] if not info.is_dir()]
        with _unpacked(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as opened_tar:
            for info in opened_tar:
                found += [info.name] if not info.isdir() else []
                if len(found) == LISTED:
                    break
    except BROKEN as error:
        if not found:
            raise ConfigError(f"{archive} is no readable archive: {error}") from error
    return found


def members(archive: Path, name: str, wanted: Wanted) -> Found:
    """The wanted members in the archive's order; what is no plain, readable file of a safe name is Rejected.

    In a broken archive the members before the break are yielded, then one Rejected that names it.
    """
    empty = True
    try:
        for found in _zip(archive, name, wanted) if zipfile.is_zipfile(archive) else _tar(archive, name, wanted):
            empty = False
            yield found
    except BROKEN as error:
        if empty:
            raise ConfigError(f"{name} is no readable archive: {error}") from error
        reason = f"broken archive: {error}; members before this place are kept, whatever followed is lost"
        yield Rejected(Row(columns={}, file=name, line="end"), reason)


def _zip(archive: Path, name: str, wanted: Wanted) -> Found:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.is_dir() or _hidden(info.filename):
                continue
            kind = "link" if stat.S_ISLNK(info.external_attr >> 16) else ""
            kind = "encrypted" if info.flag_bits & 1 else kind
            yield from _member(name, info.filename, info.file_size, kind, wanted, partial(opened.open, info))


def _tar(archive: Path, name: str, wanted: Wanted) -> Found:
    with _unpacked(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as opened:
        for info in opened:
            if info.isdir() or _hidden(info.name):
                continue
            kind = "" if info.isreg() else "link" if info.islnk() or info.issym() else "device"
            content = cast("Callable[[], IO[bytes]]", partial(opened.extractfile, info))
            yield from _member(name, info.name, info.size, kind, wanted, content)
        # tarfile takes a damaged header for the end, unless it is the first.
        stream.seek(opened.offset)
        if (end := stream.read(tarfile.BLOCKSIZE)) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError("a damaged header" if end else "it ends without its end mark")


def _unpacked(archive: Path) -> IO[bytes]:
    with archive.open("rb") as stream:
        magic = stream.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(archive))
    if magic.startswith(b"\xfd7zXZ\0"):
        return cast("IO[bytes]", lzma.LZMAFile(archive))
    return cast("IO[bytes]", bz2.BZ2File(archive)) if magic.startswith(b"BZh") else archive.open("rb")


def _hidden(member: str) -> bool:
    """What macOS puts beside the files, and other hidden ones."""
    parts = PurePosixPath(member.replace("\\", "/")).parts
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts)


def _member(name: str, member: str, size: int, kind: str, wanted: Wanted, opened: Callable[[], IO[Any]]) -> Found:
    path = PurePosixPath(member.replace("\\", "/"))
    place = f"{name}/{path}"
    if path.is_absolute() or ".." in path.parts:
        yield _refused(name, f"unsafe member name: {member!r}")
    elif kind and kind != "encrypted":
        yield _refused(place, f"{kind} in archive: it is not followed")
    elif not wanted(member):
        return
    elif kind:
        yield _refused(place, "encrypted member: it needs a password; unpack the archive yourself")
    elif size > MAX_MEMBER_BYTES:
        yield _too_large(place, f"{size:,} bytes")
    else:
        yield _content(place, opened)


def _content(place: str, opened: Callable[[], IO[Any]]) -> Member | Rejected:
    """The member's bytes; a ZIP may say less than it holds, and each of its members may be broken by itself."""
    try:
        with opened() as stream:
            content = stream.read(MAX_MEMBER_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        return _refused(place, f"broken member: {error}")
    return _too_large(place, "more bytes than it says") if len(content) > MAX_MEMBER_BYTES else Member(place, content)


def _too_large(place: str, size: str) -> Rejected:
    limit = f"the limit is {MAX_MEMBER_BYTES:,}; unpack the archive and name its folder"
    return _refused(place, f"member too large: {size}, {limit}")


def _refused(place: str, reason: str) -> Rejected:
    return Rejected(Row(columns={}, file=place, line=1), reason)
