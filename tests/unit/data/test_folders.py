"""A path that means several files: folders, patterns, archives."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tuneforge.composition import compose
from tuneforge.data import archive
from tuneforge.data.csv import Csv
from tuneforge.data.json import Json
from tuneforge.data.parquet import Parquet
from tuneforge.data.text import Text
from tuneforge.data.xml import Xml
from tuneforge.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Part files in several folders, and what lies about beside them."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "logs/part-2.jsonl": '{"text": "c"}\n{"text": "d"}\n',
        "logs/part-1.jsonl": '{"text": "a"}\n\n{"text": "b"}\n',
        "logs/deep/part-3.ndjson": '{"text": "e"}\n',
        "logs/.part-0.jsonl": '{"text": "hidden"}\n',
        "logs/LICENSE": "as is",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "logs" / "part-4.jsonl.gz").write_bytes(gzip.compress(b'{"text": "f"}\n'))
    return tmp_path


def places(found: Any) -> list[tuple[str, int | str, str]]:
    return [(row.file, row.line, row.columns["text"]) for row in found.rows]


def tar(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> str:
    with tarfile.open(path, mode) as made:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return str(path)


def packed(path: Path, members: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return str(path)


def test_folder_in_sorted_order_with_own_lines(folder: Path, read: Any) -> None:
    found = read(Json(path="logs/"))
    assert places(found) == [
        ("logs/deep/part-3.ndjson", 1, "e"),
        ("logs/part-1.jsonl", 1, "a"),
        ("logs/part-1.jsonl", 3, "b"),
        ("logs/part-2.jsonl", 1, "c"),
        ("logs/part-2.jsonl", 2, "d"),
        ("logs/part-4.jsonl.gz", 1, "f"),
    ]
    assert [note["text"] for note in found.notes] == ["logs/: 4 files are read; left out: 1 without suffix"]


def test_pattern(folder: Path, read: Any) -> None:
    assert [text for *_, text in places(read(Json(path="logs/part-[12].jsonl")))] == ["a", "b", "c", "d"]
    assert [text for *_, text in places(read(Json(path="logs/**/part-*")))] == ["e", "a", "b", "c", "d", "f"]
    (folder / "logs" / "a*b.jsonl").write_text('{"text": "star"}\n')
    assert places(read(Json(path="logs/a*b.jsonl"))) == [("logs/a*b.jsonl", 1, "star")]


def test_nothing_found_is_said(folder: Path, read: Any) -> None:
    with pytest.raises(ConfigError, match=r"logs/x\*: no file matches"):
        read(Json(path="logs/x*"))
    with pytest.raises(ConfigError, match=r"logs is a directory without a file that is read here \(\.parquet\); left"):
        read(Parquet(path="logs"))


def test_one_bad_file_among_several_is_a_rejected_row(folder: Path, read: Any) -> None:
    (folder / "logs" / "part-9.jsonl").write_bytes(b"")
    (folder / "logs" / "wide.jsonl").write_text('{"text": "x"}', encoding="utf-16")
    found = read(Json(path="logs"))
    assert len(found.rows) == 6
    assert [(r.row.file, r.reason) for r in found.rejected] == [
        ("logs/part-9.jsonl", "unreadable file: logs/part-9.jsonl is empty (0 bytes)"),
        ("logs/wide.jsonl", "unreadable file: logs/wide.jsonl is UTF-16; save it as UTF-8"),
    ]
    with pytest.raises(ConfigError, match="no key 'rows'"):  # the same of all: the config is wrong, not a file
        read(Json(path="logs/part-[12].jsonl", rows="rows"))


def test_choices(folder: Path) -> None:
    run = compose(["model=tiny", "data=./logs", "test='logs/part-*.jsonl'", "validation=logs/deep/*"])
    assert {key: (source.name, source.path) for key, source in run.data.items()} == {"logs": ("json", "./logs")}
    assert {key: source.path for key, source in run.test.items()} == {"part": "logs/part-*.jsonl"}
    assert {key: source.path for key, source in run.validation.items()} == {"deep": "logs/deep/*"}
    assert list(compose(["model=tiny", "data=logs/deep"]).data) == ["deep"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data=./mixed", r"several kinds \(1 \.csv, 2 \.jsonl\); name one of them: './mixed/\*\*/\*\.jsonl'"),
        ("data=mixed/*", "several kinds"),
        ("data=mixed.zip", r"several kinds \(1 \.csv, 1 \.jsonl\); name the source to read: data=csv data.csv.path="),
        ("data=./empty", "there is no file in it"),
        ("data='none/*.json'", "no file matches"),
        ("data=./pictures", r"no source reads what is in it \(1 \.png\); known suffixes"),
        ("data=./broken.tar.gz", "is no readable archive"),
        ("data=owner/name", "A data set of the Hugging Face hub is data=hub data.hub.path=owner/name"),
    ],
)
def test_refusals_name_what_to_type(override: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mixed/a.csv", "mixed/b.jsonl", "mixed/c.jsonl", "pictures/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("x")
    Path("empty").mkdir()
    packed(Path("mixed.zip"), {"a.csv": b"x", "b.jsonl": b"x"})
    Path("broken.tar.gz").write_bytes(gzip.compress(b"no archive" * 1000))
    with pytest.raises(ConfigError, match=said):
        compose(["model=tiny", override])


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_tar_of_every_kind(mode: str, tmp_path: Path, read: Any) -> None:
    content = {
        "d/a.csv": b"text\nx\n",
        "d/b.csv": gzip.compress(b"text\ny\n"),
        "d/notes.pdf": b"%",
        "d/._a.csv": b"mac",
    }
    path = tar(tmp_path / "all.tar.gz", content, mode)
    found = read(Csv(path=path))
    assert places(found) == [(f"{path}/d/a.csv", 2, "x"), (f"{path}/d/b.csv", 2, "y")]
    assert found.notes[0]["text"].endswith("2 files are read; left out: 1 .pdf")


def test_zip_parquet_and_a_folder_of_archives(tmp_path: Path, read: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["p", "q"]}), tmp_path / "a.parquet")
    packed(tmp_path / "in" / "a.zip" if (tmp_path / "in").mkdir() is None else tmp_path, {
        "a.parquet": (tmp_path / "a.parquet").read_bytes()
    })  # fmt: skip
    assert [text for *_, text in places(read(Parquet(path=str(tmp_path / "in"))))] == ["p", "q"]
    assert compose(["model=tiny", f"data={tmp_path}/in"]).data["in"].name == "parquet"


def test_links_devices_and_paths_out_are_not_followed(tmp_path: Path, read: Any) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as made:
        for name, kind, target in (
            ("link.txt", tarfile.SYMTYPE, str(secret)),
            ("hard.txt", tarfile.LNKTYPE, "good.txt"),
            ("fifo.txt", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            made.addfile(info)
        for name in ("../out.txt", "/abs.txt", "good.txt"):
            info = tarfile.TarInfo(name)
            info.size = 4
            made.addfile(info, io.BytesIO(b"text"))
    before = sorted(tmp_path.rglob("*"))
    found = read(Text(path=str(path)))
    assert [row.columns["text"] for row in found.rows] == ["text"]
    assert [r.reason for r in found.rejected] == [
        "link in archive: it is not followed",
        "link in archive: it is not followed",
        "device in archive: it is not followed",
        "unsafe member name: '../out.txt'",
        "unsafe member name: '/abs.txt'",
    ]
    assert sorted(tmp_path.rglob("*")) == before
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as zipped:
        info = zipfile.ZipInfo("link.txt")
        info.external_attr = 0o120777 << 16
        zipped.writestr(info, str(secret))
        zipped.writestr("..\\out.txt", "text")
    found = read(Text(path=str(tmp_path / "evil.zip")))
    assert not found.rows
    assert [r.reason.split(":")[0] for r in found.rejected] == ["link in archive", "unsafe member name"]


def test_encrypted_broken_and_large_members(tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(packed(tmp_path / "a.zip", {"a.txt": b"first " * 99, "b.txt": b"second " * 99, "c.txt": b"x" * 9000}))
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02", 0, raw.rindex(b"b.txt"))
    raw[at + 8] |= 1  # the flag of encryption, in the central directory
    raw[raw.index(b"a.txt") + 6] ^= 0xFF
    path.write_bytes(raw)
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 1000)
    found = read(Text(path=str(path)))
    assert not found.rows
    reasons = {r.row.file.rpartition("/")[2]: r.reason for r in found.rejected}
    assert reasons["a.txt"].startswith("broken member: ")
    assert reasons["b.txt"].startswith("encrypted member: ")
    assert reasons["c.txt"].startswith("member too large: 9,000 bytes, the limit is 1,000")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_truncated_tar_keeps_what_stands_before(mode: str, tmp_path: Path, read: Any) -> None:
    contents = {f"{n}.txt": os.urandom(3000).hex().encode() for n in range(50)}
    path = Path(tar(tmp_path / "a.tar.gz", contents, mode))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found = read(Text(path=str(path)))
    assert 15 < len(found.rows) < 35
    assert found.rejected[-1].reason.startswith("broken archive: ")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path, read: Any) -> None:
    path = Path(tar(tmp_path / "a.tar", {f"{n}.txt": b"text" for n in range(5)}, "w"))
    raw = bytearray(path.read_bytes())
    raw[3 * 1024 + 10] ^= 0xFF  # the header of the fourth member
    path.write_bytes(raw)
    found = read(Text(path=str(path)))
    assert len(found.rows) == 3
    assert found.rejected[0].reason.startswith("broken archive: a damaged header")


def test_a_broken_member_among_many(tmp_path: Path, read: Any) -> None:
    path = packed(
        tmp_path / "a.zip", {"a.xml": b"<r><i><t>x</t></i><i><t>y</t></i></r>", "b.xml": b"<r><i><t>", "c.xml": b""}
    )
    found = read(Xml(path=path))
    assert [row.columns["t"] for row in found.rows] == ["x", "y"]
    assert [r.row.file.rpartition("/")[2] for r in found.rejected] == ["b.xml", "c.xml"]
