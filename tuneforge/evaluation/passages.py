"""Documents in the prompt: the passages that share most with a question, put before it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tuneforge.errors import ConfigError
from tuneforge.evaluation.lexical import Ranking
from tuneforge.rows import content_hash
from tuneforge.sections import DOCUMENTS

CHARACTERS = 800
"""Longest passage."""


@dataclass(frozen=True)
class Passages:
    """Texts of which `count` are put before each question: the best by BM25, the best one last, next to it."""

    texts: tuple[str, ...]
    count: int
    path: str = ""

    def before(self, question: str) -> str:
        """The passages, numbered as they stand; empty where none shares a word with the question."""
        best = [self.texts[place] for place in reversed(self._ranking.top(question, self.count))]
        return "\n".join(["Passages:", *(f"[{i}] {text}" for i, text in enumerate(best, 1))]) if best else ""

    @cached_property
    def _ranking(self) -> Ranking:
        return Ranking(self.texts)

    def facts(self) -> dict[str, Any]:
        """Where the texts come from, and their hash."""
        return {"documents": self.path, "passages": self.count, "texts": content_hash({"texts": self.texts})}


def read(path: str, count: int) -> Passages:
    """The passages of a file, or of every text in a folder. ConfigError for none, or bytes that are not UTF-8."""
    place = Path(path).expanduser()
    files = sorted(f for f in place.rglob("*") if f.suffix in DOCUMENTS) if place.is_dir() else [place]
    found = tuple(dict.fromkeys(passage for file in files for passage in cut(_text(file))))
    if not found:
        raise ConfigError(f"baseline.documents={path}: holds no text ({', '.join(DOCUMENTS)} in a folder)")
    return Passages(found, count, path)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"baseline.documents: {file} is not UTF-8 (byte {error.start:,}: {error.reason})") from error
    except OSError as error:
        raise ConfigError(f"baseline.documents: {file} cannot be read: {error.strerror}") from error


def cut(text: str, longest: int = CHARACTERS) -> Iterator[str]:
    """Whole paragraphs together up to `longest` characters; a longer one is cut between words."""
    passage = ""
    for piece in _pieces(text.split("\n\n"), longest):
        if passage and len(passage) + 1 + len(piece) > longest:
            yield passage
            passage = ""
        passage = f"{passage}\n{piece}" if passage else piece
    if passage:
        yield passage


def _pieces(paragraphs: Iterable[str], longest: int) -> Iterator[str]:
    for paragraph in paragraphs:
        lines = "\n".join(" ".join(line.split()) for line in paragraph.splitlines() if line.strip())
        yield from [lines] if 0 < len(lines) <= longest else textwrap.wrap(lines, longest)
