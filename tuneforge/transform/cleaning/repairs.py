"""Repairs of one text. Each returns the text as it is where there is nothing to repair, and is quick to see that."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

FENCED = re.compile(r"^[ \t]*```.*?(?:^[ \t]*```[ \t]*$|\Z)|^[ \t]*~~~.*?(?:^[ \t]*~~~[ \t]*$|\Z)", re.M | re.S)
"""Fenced code as CommonMark has it; an unclosed fence reaches to the end."""
CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`", re.S)
"""Code in a text, fenced or inline: what is written there is not prose."""

_JOINING = r"\u0600-\u08ff\u0900-\u0dff\u0e00-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc"
"""Arabic, Indic, Thai, Lao, Tibetan, Myanmar, Khmer, Mongolian: what has no width decides here how letters look."""
_EMOJI = r"\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff"

_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"
_UNSEEN = r"\u00ad\u061c\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
_CANDIDATE = re.compile(rf"[{_CONTROLS}{_UNSEEN}\u200b-\u200d\U000e0000-\U000e007f]")
_INVISIBLE = re.compile(
    rf"[{_CONTROLS}{_UNSEEN}]"
    rf"|(?<![{_JOINING}])[\u200b\u200c]|[\u200b\u200c](?![{_JOINING}])"
    rf"|(?<![{_JOINING}{_EMOJI}])\u200d|\u200d(?![{_JOINING}{_EMOJI}])"
    r"|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"
)
"""C0 and C1 controls, soft hyphens, zero-width characters, bidirectional controls, byte order marks, hidden tags."""
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_LOST_QUOTE = re.compile(r"â€(?=[\s.,;:!?)\]'\"-]|\Z)")
_SPACES = dict.fromkeys(map(ord, "\u00a0\u1680\u202f\u205f"), " ") | dict.fromkeys(range(0x2000, 0x200B), " ")
_RUN = re.compile(r"(?<=\S) {2,}(?=\S)")
_TRAILING = re.compile(r"[ \t]+(?=\n)")
_EMPTY_LINES = re.compile(r"\n{4,}")
_ALIGNED = re.compile(r"[\t|]|\S {3,}\S.* {3,}\S")
"""A line whose columns are aligned: its blanks are content."""
_UNTIDY = ("  ", " \n", "\t\n", "\n\n\n\n")

_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff01-\uff60]")
"""Chinese and Japanese: curly quotes, long dashes and ellipses are their own punctuation."""
_QUOTES = dict.fromkeys(range(0x2018, 0x201C), "'") | dict.fromkeys(range(0x201C, 0x2020), '"')
_DASHES = {0x2026: "...", 0x2014: "--", 0x2015: "--", 0x2212: "-"} | dict.fromkeys(range(0x2010, 0x2014), "-")
_CURLY, _TYPESET = (re.compile(f"[{''.join(map(chr, table))}]") for table in (_QUOTES, _DASHES))
_THOUSANDS = re.compile(r"(?<![\w.,'$\u00a3\u20ac])([$\u00a3\u20ac]?)(\d{1,3}(?:,\d{3})+)(?![\w,']|\.\d*,)")


def mojibake(text: str) -> str:
    """UTF-8 that was read as another encoding, repaired by ftfy's `fix_encoding`, and nothing else of ftfy's.

    A closing quote whose last byte is lost, `â€` before a blank or a mark, is one: ftfy makes a dagger of it.
    """
    if text.isascii():
        return text
    from ftfy import fix_encoding

    return str(fix_encoding(_LOST_QUOTE.sub("â€\x9d", text)))


def composed(text: str, form: str) -> str:
    """Unicode normal form: NFC or NFKC."""
    return text if text.isascii() or unicodedata.is_normalized(form, text) else unicodedata.normalize(form, text)  # type: ignore[arg-type]


def invisible(text: str) -> str:
    """Without control and zero-width characters; newline, tab and what a script or an emoji needs stay."""
    return _INVISIBLE.sub("", text) if _CANDIDATE.search(text) else text


def line_ends(text: str) -> str:
    """Every line end as a newline."""
    return _LINE_ENDS.sub("\n", text)


def white_space(text: str) -> str:
    """One space for a run, none at the end of a line, at most two empty lines; outside of fenced code.

    What stands before the first and after the last character, indentation and aligned columns are content and stay.
    """
    if not text.isascii():
        text = text.translate(_SPACES)
    if not any(sign in text for sign in _UNTIDY):
        return text
    core = text.strip()
    start = text.index(core)
    return text[:start] + outside(FENCED, _tidy, core) + text[start + len(core) :]


def _tidy(prose: str) -> str:
    lines = [line if _ALIGNED.search(line) else _RUN.sub(" ", line) for line in prose.split("\n")]
    return _EMPTY_LINES.sub("\n\n\n", _TRAILING.sub("", "\n".join(lines)))


def quotes(text: str) -> str:
    """Straight quotes for curly and low ones, but in code and beside Chinese and Japanese."""
    return _translated(text, _CURLY, _QUOTES)


def punctuation(text: str) -> str:
    """`-` for short dashes and the minus sign, `--` for long ones, `...` for an ellipsis; but as `quotes`."""
    return _translated(text, _TYPESET, _DASHES)


def _translated(text: str, what: re.Pattern[str], table: Mapping[int, str]) -> str:
    if text.isascii() or not what.search(text) or _HAN.search(text):
        return text
    return outside(CODE, lambda prose: prose.translate(table), text)


def lower(text: str) -> str:
    """Lower case, but in code."""
    return outside(CODE, str.lower, text)


def thousands(text: str) -> str:
    """`1234567` for `1,234,567`, but in code."""
    return outside(CODE, lambda prose: _THOUSANDS.sub(lambda m: m[1] + m[2].replace(",", ""), prose), text)


def outside(code: re.Pattern[str], change: Callable[[str], str], text: str) -> str:
    """The text with `change` made outside of what `code` finds."""
    if "`" not in text and "~~~" not in text:
        return change(text)
    made, at = [], 0
    for found in code.finditer(text):
        made += [change(text[at : found.start()]), found[0]]
        at = found.end()
    return "".join([*made, change(text[at:])])
