"""Elements as rows, and what is refused in XML files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from tuneforge.data.xml import Xml
from tuneforge.errors import ConfigError

QUESTIONS = """<?xml version="1.0"?>
<Doc id="7" url="http://x"><Focus>Flu</Focus>
<Pairs>
  <Pair pid="1"><Q kind="a">What?</Q><A>This &amp; that
  and more</A></Pair>
  <Pair pid="2"><Q>Why <i>so</i>?</Q><A/><Meta><Date>1</Date><Date>2</Date></Meta></Pair>
</Pairs><Late>no</Late></Doc>
"""


@pytest.fixture
def xml(tmp_path: Path) -> Any:
    def write(content: str | bytes, name: str = "a.xml") -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def test_rows_with_what_stands_around_them(xml: Any, read: Any) -> None:
    found = read(Xml(path=xml(gzip.compress(QUESTIONS.encode()), "a.xml.gz")))
    around = {"Doc.@id": "7", "Doc.@url": "http://x", "Doc.Focus": "Flu"}
    assert [dict(row.columns) for row in found.rows] == [
        around | {"@pid": "1", "Q": "What?", "Q.@kind": "a", "A": "This & that\n  and more"},
        around | {"@pid": "2", "Q": "Why so?", "A": "", "Meta.Date": ["1", "2"]},
    ]
    assert [row.line for row in found.rows] == [4, 6]
    assert "one row per <Pair>, which occurs 2 times" in found.notes[0]["text"]


def test_item_is_named_and_nearest_is_said(xml: Any, read: Any) -> None:
    path = xml(QUESTIONS)
    assert read(Xml(path=path, item="Date")).columns("Date") == ["1", "2"]
    assert [row.line for row in read(Xml(path=path, item="Date")).rows] == [6, "6.2"]
    with pytest.raises(ConfigError, match=r"no element <pair> \(it has .*Did you mean 'Pair'\?"):
        read(Xml(path=path, item="pair"))


def test_leaves_repeat_where_nothing_else_does(xml: Any, read: Any) -> None:
    assert read(Xml(path=xml("<r><t>x</t><t>y</t></r>"))).columns("t") == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "rows", "line", "reason"),
    [
        ("<r>\n<i><t>x</t></i>\n<i><t>y</t></j>\n</r>", ["x"], 3, "invalid XML: mismatched tag at column"),
        ("<r>\n<i><t>x</t></i>\n<i><t>y", ["x"], 3, "invalid XML: no element found"),
        ("<r><i><t>x</t></i>\n\0</r>", ["x"], 2, "invalid XML: not well-formed (invalid token)"),
        (b"<r><i><t>x</t></i>\n<i><t>caf\xe9</t></i></r>", ["x"], 2, "invalid XML: not well-formed (invalid token)"),
        ("no xml", [], 1, "invalid XML: syntax error at column 1"),
        ('<!DOCTYPE r [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>\n<r><i>&b;</i></r>', [], 1, "entity refused: 'a'"),
        ('<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n<r><i>&a;</i></r>', [], 1, "entity refused: 'a'"),
        ('<!DOCTYPE r SYSTEM "r.dtd">\n<r><i><t>x</t></i>\n<i>&nbsp;</i></r>', ["x"], 3, "entity refused: 'nbsp'"),
        ("<r>" + "<a>" * 300 + "</a>" * 300 + "</r>", [], 1, "nested too deeply: over 200"),
        ("<r>" + "<a>" * 1_000_000, [], 1, "nested too deeply: over 200"),
    ],
)
def test_what_breaks_off_is_one_rejected_row(
    content: str | bytes, rows: list[str], line: int, reason: str, xml: Any, read: Any
) -> None:
    found = read(Xml(path=xml(content), item="i"))
    assert [row.columns["t"] for row in found.rows] == rows
    assert [(r.row.line, r.reason.startswith(reason)) for r in found.rejected] == [(line, True)], found.rejected


def test_encodings_and_line_ends(xml: Any, read: Any) -> None:
    latin = '<?xml version="1.0" encoding="ISO-8859-1"?><r><i><t>café</t></i></r>'.encode("latin-1")
    assert read(Xml(path=xml(latin), item="i")).columns("t") == ["café"]
    assert read(Xml(path=xml(b"\xef\xbb\xbf<r>\r\n<i><t>a\r\nb</t></i></r>"), item="i")).columns("t") == ["a\nb"]
    cdata = "<r><i><t><![CDATA[<b> & c]]></t><!-- no --></i></r>"
    assert read(Xml(path=xml(cdata), item="i")).columns("t") == ["<b> & c"]


def test_a_large_row_is_rejected_and_holds_little_memory(xml: Any, read: Any) -> None:
    import tracemalloc

    path = xml("<r><big>" + "x" * 20_000_000 + "</big><i><t>" + "y" * 20_000_000 + "</t></i><i><t>z</t></i></r>")
    tracemalloc.start()
    found = read(Xml(path=path, item="i"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.columns("t") == ["z"]
    assert [r.reason for r in found.rejected] == ["row too large: <i> has over 4,194,304 characters"]
    assert peak < 30_000_000


@pytest.mark.shared
def test_medquad(shared: Path, read: Any) -> None:
    found = read(Xml(path=str(shared / "data/medquad/medquad_xml.tar.gz")))
    assert (len(found.rows), found.rejected) == (2191, [])
    assert len({row.file for row in found.rows}) == 326
    assert found.notes[-1]["text"].endswith("6 files hold no <QAPair>")
