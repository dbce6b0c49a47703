"""Files of synonyms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tuneforge.errors import ConfigError

ENGLISH_LIST = Path(__file__).with_name("synonyms_en.tsv")
"""Words of one form that may stand for each other in nearly every sentence."""


@cache
def read(path: Path) -> Mapping[str, Sequence[str]]:
    """Word in lower case → its synonyms. ConfigError, with the line, for a file that is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"transform.synonyms.thesaurus={path}: cannot be read ({error})") from error
    found = _from_json(text, path) if path.suffix == ".json" else _from_lines(text, path)
    if not found:
        raise ConfigError(f"transform.synonyms.thesaurus={path}: has no word with a synonym")
    return found


def _from_lines(text: str, path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        word, *synonyms = (part.strip() for part in line.split("\t"))
        if not line.strip() or line.startswith("#"):
            continue
        if not word or not any(synonyms):
            raise ConfigError(f"{path}:{number}: a word and its synonyms are needed, with tabs between: {line[:60]!r}")
        found.setdefault(word.lower(), []).extend(s for s in synonyms if s)
    return found


def _from_json(text: str, path: Path) -> dict[str, list[str]]:
    try:
        content: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict) or not all(_texts(value) for value in content.values()):
        raise ConfigError(f'{path}: a list of synonyms for each word is needed, as {{"quick": ["fast", "rapid"]}}')
    return {word.lower(): list(synonyms) for word, synonyms in content.items() if synonyms}


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value)
