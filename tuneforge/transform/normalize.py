"""Write every text in one form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from tuneforge.components import Context, Transform
from tuneforge.conversation import passages, rewritten
from tuneforge.rows import Kept, Row

if TYPE_CHECKING:
    from tuneforge.transform.cleaning.dates import Dates

Repair = tuple[str, Callable[[str], str]]


class Unicode(StrEnum):
    """Normal form of Unicode."""

    keep = "keep"
    nfc = "nfc"
    nfkc = "nfkc"


class Case(StrEnum):
    """Case of letters."""

    keep = "keep"
    lowercase = "lowercase"


@dataclass(kw_only=True)
class Normalize(Transform):
    """Repair encodings, characters, white space and punctuation of every text, so that one thing has one form.

    Applied to held-out rows too: a model that learned straight quotes is not to be judged by curly ones, and base and
    tuned are asked and judged by the same text. What calls the model later should be normalised the same way. `tokens`,
    `tags`, labels and tools stay as they are. A text that was normalised once comes out of a second time unchanged.
    """

    name: ClassVar[str] = "normalize"
    held_out: ClassVar[bool] = True

    encoding: bool = True
    """Repair mojibake: UTF-8 that was read as another encoding (`Ã©` for `é`), by ftfy."""
    control: bool = True
    """Take out control characters, zero-width and bidirectional ones, soft hyphens, byte order marks and hidden tags;
    newline, tab, and joiners in emoji and in scripts that need them stay."""
    line_ends: bool = True
    """Every line end as a newline."""
    unicode: Unicode = Unicode.nfc
    """Normal form: nfc composes accents; nfkc also replaces ligatures, full-width and superscript forms; keep."""
    white_space: bool = True
    """One space for a run of spaces and for a no-break space, none at the end of a line, at most two empty lines;
    fenced code, indentation, aligned columns and the outer ends of a text stay."""
    strip: bool = False
    """Take white space from the ends of every text; the leading space of an answer such as ` yes` may be content."""
    quotes: bool = True
    """Straight quotes for curly and low ones; not in code and not in Chinese and Japanese texts."""
    punctuation: bool = True
    """`-` for short dashes, `--` for long ones, `...` for the ellipsis; not in code, Chinese and Japanese."""
    case: Case = Case.keep
    """keep, or lowercase: lower case outside of code."""
    numbers: bool = False
    """Take the commas out of `1,234,567`, outside of code."""
    dates: bool = False
    """Write dates as 2021-03-05, outside of code, where only one day can be meant; `03/04/2020` is left and counted."""

    def apply(self, rows: Iterable[Row], context: Context) -> Kept:
        """Every row with repaired texts; counts the texts that each repair changed."""
        from tuneforge.transform.cleaning.dates import Dates

        dates = Dates()
        steps = list(self._repairs(dates))
        for row in rows:
            yield self._repaired(row, steps, context)
        if dates.ambiguous:
            context.counts["ambiguous dates left"] += dates.ambiguous

    def _repairs(self, dates: Dates) -> Iterator[Repair]:
        """What to do, in an order in which no repair makes work for an earlier one."""
        from tuneforge.transform.cleaning import repairs

        form = self.unicode.value.upper()
        every: list[tuple[bool, str, Callable[[str], str]]] = [
            (self.encoding, "mojibake", repairs.mojibake),
            (self.line_ends, "line ends", repairs.line_ends),
            (self.control, "control characters", repairs.invisible),
            (self.unicode is not Unicode.keep, f"unicode {form}", lambda text: repairs.composed(text, form)),
            (self.quotes, "quotes", repairs.quotes),
            (self.punctuation, "punctuation", repairs.punctuation),
            (self.white_space, "white space", repairs.white_space),
            (self.strip, "outer white space", str.strip),
            (self.case is Case.lowercase, "case", repairs.lower),
            (self.dates, "dates", lambda text: repairs.outside(repairs.CODE, dates.iso, text)),
            (self.numbers, "numbers", repairs.thousands),
        ]
        return ((name, repair) for wanted, name, repair in every if wanted)

    def _repaired(self, row: Row, steps: list[Repair], context: Context) -> Row:
        made: dict[str, str] = {}
        for passage in passages(row.columns):
            text = passage.text
            for name, repair in steps:
                if (better := repair(text)) != text:
                    context.counts[name] += 1
                    text = better
            if text != passage.text:
                made[passage.place] = text
        if not made:
            return row
        return replace(row, columns=rewritten(row.columns, lambda passage: made.get(passage.place, passage.text)))
