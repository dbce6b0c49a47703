"""How files are opened and read for all sources: lines with numbers, bounded in size, problems named.

Nothing here raises for the content of a row: a line that cannot be used is handed on with its `problem`.
What is wrong with the file itself (missing, a directory, empty, unreadable) is a ConfigError.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedIOBase, BytesIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple, cast

from tuneforge.data.paths import located
from tuneforge.errors import ConfigError, nearest

MAX_ROW_BYTES = 4 * 1024 * 1024
"""Largest row in bytes; a longer one is rejected without being held in memory."""

GZIP_MAGIC = b"\x1f\x8b"
UTF8_BOM = b"\xef\xbb\xbf"
WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
BROKEN_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True)
class Member:
    """A member of an archive, held in memory; it is opened like a path."""

    name: str
    """`archive.tar.gz/folder/member.xml`."""
    content: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def suffixes(self) -> list[str]:
        """As of a path."""
        return PurePosixPath(self.name).suffixes

    def open(self, mode: str = "rb") -> BytesIO:
        """Its bytes; ConfigError if there are none."""
        if not self.content:
            raise ConfigError(f"{self.name} is empty (0 bytes)")
        return BytesIO(self.content)


File = Path | Member


class Line(NamedTuple):
    """One physical line: `data` with its line ending, `offset` of its first byte in the (unpacked) file."""

    number: int
    offset: int
    data: bytes
    problem: str = ""
    """Why the line cannot be used; empty if it can."""


def existing(path: str) -> Path:
    """The file at `path`; ConfigError if it is missing (with the nearest name), a directory, or empty."""
    if not path:
        raise ConfigError("a data source needs a file: path is empty")
    file = located(path)
    try:
        if file.is_dir():
            raise ConfigError(f"{path} is a directory; a data source reads one file")
        if not file.exists():
            raise ConfigError(f"{path} does not exist.{_near(file)}")
        if file.stat().st_size == 0:
            raise ConfigError(f"{path} is empty (0 bytes)")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    return file


def _near(file: Path) -> str:
    if not file.parent.is_dir():
        return f" There is no directory {file.parent} either."
    return nearest(file.name, [entry.name for entry in file.parent.iterdir()])


def open_bytes(file: File) -> BufferedIOBase:
    """The file's bytes, unpacked when it is gzip by its content (the suffix does not matter)."""
    try:
        with file.open("rb") as stream:
            magic = stream.read(2)
        if magic in WIDE_BOMS:
            raise ConfigError(f"{file} is UTF-16; save it as UTF-8")
        if magic != GZIP_MAGIC:
            return file.open("rb")
        packed = gzip.GzipFile(file) if isinstance(file, Path) else gzip.GzipFile(fileobj=file.open())
        return cast("BufferedIOBase", packed)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error


def lines(file: File) -> Iterator[Line]:
    """Every line with its 1-based number. At most MAX_ROW_BYTES of it are held in memory."""
    number, offset = 0, 0
    with open_bytes(file) as stream:
        while True:
            number += 1
            try:
                data = stream.readline(MAX_ROW_BYTES + 1)
                size = len(data)
                if size > MAX_ROW_BYTES and not data.endswith(b"\n"):
                    size += _skip_line(stream)
            except BROKEN_GZIP as error:
                yield Line(number, offset, b"", broken_gzip(error))
                return
            if not data:
                return
            if size > MAX_ROW_BYTES:
                yield Line(number, offset, b"", f"row too large: {size:,} bytes, the limit is {MAX_ROW_BYTES:,}")
            else:
                yield Line(number, offset, data.removeprefix(UTF8_BOM) if number == 1 else data)
            offset += size


def _skip_line(stream: BufferedIOBase) -> int:
    skipped = 0
    while chunk := stream.readline(1024 * 1024):
        skipped += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return skipped


def broken_gzip(error: BaseException) -> str:
    """The reason given at the place where a compressed file breaks off."""
    return f"broken gzip: {error}; rows before this place are kept, whatever followed is lost"


def decoded(line: Line) -> tuple[str, str]:
    """(text, problem) of a line: its text without the line ending, or why it is no text."""
    try:
        return line.data.decode("utf-8").rstrip("\r\n"), line.problem
    except UnicodeDecodeError as error:
        return "", not_utf8(line.data[error.start], line.offset + error.start)


def not_utf8(byte: int, offset: int) -> str:
    """The reason for a byte that is not UTF-8; `offset` counts bytes of the (unpacked) file from 0."""
    return f"not UTF-8: byte 0x{byte:02x} at byte offset {offset:,} of the file"


def whole(file: File) -> tuple[str, str]:
    """(text, problem) of a file: bytes that are not UTF-8 become surrogates U+DC80..U+DCFF (surrogateescape).

    `problem` names the break of a truncated gzip file; the text then holds what stands before it.
    """
    chunks, problem = [], ""
    with open_bytes(file) as stream:
        try:
            # Not `read`: of a read that the break of a gzip file interrupts nothing is returned.
            while chunk := stream.read1(1 << 20):
                chunks.append(chunk)
        except BROKEN_GZIP as error:
            problem = broken_gzip(error)
    return b"".join(chunks).removeprefix(UTF8_BOM).decode("utf-8", "surrogateescape"), problem
