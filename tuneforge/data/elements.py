"""Elements of an XML file as rows: expat calls, nothing is held but the row that is being read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from tuneforge.data.reading import BROKEN_GZIP, MAX_ROW_BYTES, File, broken_gzip, open_bytes
from tuneforge.rows import Kept, Rejected, Row

CHUNK = 1 << 16
MAX_DEPTH = 200
"""Deepest nesting that is read."""

NODE = 50
"""What an element counts for towards the size of a row, in characters."""


class NotRead(Exception):
    """A file that is well-formed and yet not read on; its text is the reason."""


@dataclass
class Node:
    """An open element: its attributes, and what stands in it in order."""

    tag: str
    attributes: dict[str, str]
    line: int
    inner: bool = False
    """Elements stand in it."""
    parts: list[str | Node] = field(default_factory=list)
    leaves: dict[str, str] = field(default_factory=dict)
    """Outside of rows: the last leaf of each name so far."""

    def text(self) -> str:
        """All text in it."""
        return "".join(part if isinstance(part, str) else part.text() for part in self.parts)

    def whole(self) -> bool:
        """Whether its text is one value: no element stands in it, or text beside its elements."""
        return not self.inner or any(isinstance(part, str) and part.strip() for part in self.parts)

    def columns(self, prefix: str = "") -> Iterator[tuple[str, str]]:
        """(name, text) of its attributes and of every leaf below it."""
        yield from ((f"{prefix}@{name}", value) for name, value in self.attributes.items())
        for child in self.parts:
            if isinstance(child, Node):
                if child.whole():
                    yield f"{prefix}{child.tag}", child.text().strip()
                    yield from ((f"{prefix}{child.tag}.@{name}", value) for name, value in child.attributes.items())
                else:
                    yield from child.columns(f"{prefix}{child.tag}.")


class Elements:
    """The rows of one file: its elements named `item`."""

    def __init__(self, name: str, item: str) -> None:
        self._name, self._item = name, item
        self.seen: Counter[str] = Counter()
        """Elements by name."""
        self.parents: Counter[str] = Counter()
        """Elements by name that have elements in them."""
        self._open: list[Node] = []
        self._row: Node | None = None
        self._size = 0  # of the open row, or of the open leaf outside of rows
        self._last, self._on_line = 0, 0
        self._done: list[Row | Rejected] = []
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity
        self._parser.ExternalEntityRefHandler = self._entity
        self._parser.SkippedEntityHandler = self._entity

    def rows(self, file: File) -> Kept:
        """The rows; what ends the reading before the end is the last one, Rejected with its line."""
        try:
            with open_bytes(file) as stream:
                while chunk := stream.read1(CHUNK):
                    self._parser.Parse(chunk, False)
                    yield from self._taken()
                self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            yield from self._taken()
            yield self._lost(f"invalid XML: {expat.ErrorString(error.code)} at column {error.offset + 1}", error.lineno)
        except NotRead as error:
            yield from self._taken()
            yield self._lost(str(error), self._parser.CurrentLineNumber)
        except BROKEN_GZIP as error:
            yield from self._taken()
            yield Rejected(Row(columns={}, file=self._name, line=self._parser.CurrentLineNumber), broken_gzip(error))
        yield from self._taken()

    def _taken(self) -> list[Row | Rejected]:
        done, self._done = self._done, []
        return done

    def _lost(self, reason: str, line: int) -> Rejected:
        reason += "; rows before this place are kept, whatever followed is lost"
        return Rejected(Row(columns={}, file=self._name, line=line), reason)

    def _entity(self, name: object, *_: object) -> NoReturn:
        raise NotRead(f"entity refused: {name!r} is no predefined entity; declared and external ones are not read")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise NotRead(f"nested too deeply: over {MAX_DEPTH} elements in each other")
        self.seen[tag] += 1
        node = Node(tag, attributes, self._parser.CurrentLineNumber)
        if self._open and not self._open[-1].inner:
            self._open[-1].inner = True
            self.parents[self._open[-1].tag] += 1
        if self._row is not None:
            self._keep(node, NODE + sum(map(len, attributes.values())))
        else:
            self._size = 0
            if self._open:
                self._open[-1].parts.clear()
            self._row = node if tag == self._item else None
        self._open.append(node)

    def _characters(self, text: str) -> None:
        if self._row is not None or not self._open[-1].inner:
            self._keep(text, len(text))

    def _keep(self, part: str | Node, size: int) -> None:
        """Nothing is held of what is too large."""
        self._size += size
        if self._size <= MAX_ROW_BYTES:
            self._open[-1].parts.append(part)

    def _end(self, tag: str) -> None:
        node = self._open.pop()
        if node is self._row:
            self._row = None
            self._done.append(self._made(node))
        elif self._row is None and self._open and not node.inner and self._size <= MAX_ROW_BYTES:
            self._open[-1].leaves[tag] = node.text().strip()

    def _made(self, node: Node) -> Row | Rejected:
        line = self._numbered(node.line)
        if self._size > MAX_ROW_BYTES:
            reason = f"row too large: <{node.tag}> has over {MAX_ROW_BYTES:,} characters"
            return Rejected(Row(columns={}, file=self._name, line=line), reason)
        own: dict[str, str | list[str]] = {}
        for name, value in node.columns():
            before = own.get(name)
            own[name] = value if before is None else [*before, value] if isinstance(before, list) else [before, value]
        if node.whole():
            own[node.tag] = node.text().strip()
        return Row(columns={**self._around(), **own}, file=self._name, line=line)

    def _around(self) -> dict[str, str]:
        """What stands around the row: attributes, and the leaves before it."""
        made: dict[str, str] = {}
        for node in self._open:
            made |= {f"{node.tag}.@{name}": value for name, value in node.attributes.items()}
            made |= {f"{node.tag}.{name}": value for name, value in node.leaves.items()}
        return made

    def _numbered(self, line: int) -> int | str:
        """The line, with a number behind it where a row has begun on it already."""
        self._on_line = self._on_line + 1 if line == self._last else 1
        self._last = line
        return line if self._on_line == 1 else f"{line}.{self._on_line}"
