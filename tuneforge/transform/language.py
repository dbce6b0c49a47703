"""Keep rows in the languages that are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.conversation import passages
from tuneforge.rows import Kept, Rejected, Row

if TYPE_CHECKING:
    from tuneforge.settings import Run

ENOUGH = 1000
"""Characters of a text that are looked at."""


class Judged(StrEnum):
    """Which texts of a row decide."""

    answer = "answer"
    prompt = "prompt"
    row = "row"


class Unsure(StrEnum):
    """What becomes of texts whose language cannot be told."""

    keep = "keep"
    drop = "drop"


@dataclass(kw_only=True)
class Language(Transform):
    """Drop rows whose text is surely in another language than those that are wanted; counts rows by language.

    py3langid tells languages apart, offline (after Lui and Baldwin 2012, langid.py), by the first 1,000 characters. On
    formulas, code and names it is not sure; these stay, counted, unless `unsure=drop`. Code in backticks is not looked
    at. Training rows only.
    """

    name: ClassVar[str] = "language"
    extra: ClassVar[str] = "language"
    module: ClassVar[str] = "py3langid"

    languages: list[str] = field(default_factory=lambda: ["en"])
    """Languages that are kept, by their ISO 639-1 codes."""
    judged: Judged = Judged.answer
    """Which texts decide: the answer (of a document its text, of a pair the chosen one), the prompt, or the row."""
    min_confidence: float = 0.8
    """Least probability of the language that is found, of 1, for a row to be told by it."""
    min_letters: int = 20
    """Texts with fewer letters are too short to tell, and stay."""
    unsure: Unsure = Unsure.keep
    """Texts that are long enough and yet cannot be told: keep or drop."""

    def check(self, run: Run) -> Iterable[str]:
        """Some language, and a probability."""
        if not self.languages:
            yield "languages=[] keeps no language; name some, as [en,de]"
        if not 0 <= self.min_confidence <= 1:
            yield f"min_confidence={self.min_confidence} must be from 0 to 1"

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Rows in the wanted languages, and those that cannot be told. ConfigError for a language it does not know."""
        identifier = self._identifier()
        wanted = {code.lower() for code in self.languages}
        for row in rows:
            text = self._text(row)
            if sum(map(str.isalpha, text)) < self.min_letters:
                context.counts["too short to tell"] += 1
                yield row
                continue
            code, probability = identifier.classify(text)
            if probability < self.min_confidence:
                context.counts["not sure"] += 1
                said = f"language not sure: {code} with {probability:.2f}, min_confidence={self.min_confidence:g}"
                yield Rejected(row, said) if self.unsure is Unsure.drop else row
                continue
            context.counts[code] += 1
            yield row if code in wanted else Rejected(row, f"language {code}: probability {probability:.2f}")

    def _identifier(self) -> Any:
        from tuneforge.errors import ConfigError, nearest
        from tuneforge.extras import require

        require(self.module, self.extra, "transform=language")
        from py3langid import langid

        found = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
        known = [str(code) for code in found.labels]
        for code in self.languages:
            if code.lower() not in known:
                near = nearest(code.lower(), known)
                raise ConfigError(f"transform.language.languages: '{code}' is no code of a known language.{near}")
        return found

    def _text(self, row: Row) -> str:
        """The beginning of what decides, without code."""
        from tuneforge.transform.cleaning.repairs import CODE

        found: list[str] = []
        for passage in passages(row.columns):
            if passage.place.startswith(("rejected", "negative")):
                continue
            asked = passage.role in ("user", "system", "tool")
            if self.judged is Judged.row or asked is (self.judged is Judged.prompt):
                found.append(CODE.sub(" ", passage.text[: 2 * ENOUGH]))
            if sum(map(len, found)) > ENOUGH:
                break
        return "\n".join(found)[:ENOUGH]
