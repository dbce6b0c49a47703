"""Which class an answer in words names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from tuneforge.errors import ConfigError

EDGES = r"^[\p{P}\p{S}\s]+|[\p{P}\p{S}\s]+$"
LETTER = r"[\w--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]]"
"""What a name may not stand beside, in scripts that put spaces between words."""


class Names:
    """The names of the classes, and the answers that mean them."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)
        self._tables = [(form, self._table(form)) for form in (str.strip, _folded, _bare)]

    def named(self, answer: str, search: bool = False) -> int | None:
        """Place of the class that is the whole answer, or with `search` of the first that is named in it; None: none.

        The whole answer is compared as it stands, then without case and with one space between words, then without
        punctuation around it; a form that two classes share names neither.
        """
        for form, table in self._tables:
            if (place := table.get(form(answer))) is not None:
                return place
        found = self._anywhere.search(answer) if search else None
        return None if found is None else self.named(found[0])

    def _table(self, form: Callable[[str], str]) -> dict[str, int]:
        forms = [form(label) for label in self.labels]
        counts = Counter(forms)
        return {text: place for place, text in enumerate(forms) if text and counts[text] == 1}

    @cached_property
    def _anywhere(self) -> Any:
        import regex

        longest = sorted((label.strip() for label in self.labels if label.strip()), key=len, reverse=True)
        names = "|".join(r"\s+".join(map(regex.escape, label.split())) for label in longest)
        return regex.compile(rf"(?<!{LETTER})(?:{names})(?!{LETTER})", regex.V1 | regex.IGNORECASE)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _bare(text: str) -> str:
    import regex

    return str(regex.sub(EDGES, "", _folded(text)))


def known(labels: Sequence[str], where: str) -> list[str]:
    """The labels that a config names; ConfigError for fewer than two, or one that stands twice."""
    twice = [label for label, count in Counter(map(_folded, labels)).items() if count > 1]
    if len(labels) < 2 or twice:
        reason = f"'{twice[0]}' stands twice" if twice else "at least two are needed"
        raise ConfigError(f"{where}: {reason}")
    return [label.strip() for label in labels]
