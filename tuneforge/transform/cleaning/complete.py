"""Whether a text is whole: rules that say nothing rather than something doubtful."""

from __future__ import annotations

import re

OPEN_WORDS = frozenset({
    "a", "an", "the", "of", "to", "and", "or", "but", "nor", "with", "for", "in", "on", "at", "by", "from", "as", "is",
    "are", "was", "were", "that", "which", "who", "whose", "than", "because", "if", "when", "while", "into", "about",
    "your", "my", "our", "their", "its",
})  # fmt: skip
"""English words with which no sentence ends, or hardly any; after them something was to come."""
STARTS = OPEN_WORDS | {
    "he", "she", "it", "they", "we", "you", "this", "then", "so", "there", "these", "those", "also", "however",
}  # fmt: skip
"""Words that begin a sentence and do not end a text when they are capitalised."""
FRAGMENT = 60
"""Words of a last sentence: what is longer is a list, a table or categories, not a sentence that was cut off."""
LINE = 8
"""Words of a last line that may be a sentence; a shorter one may be a title, a name or a short answer."""

_ITEM = re.compile(r"\s*(?:\d+[.)]|[-*•>|#+])")
_SENTENCE_END = re.compile(r"[.!?][\"')\]\u201d\u2019]*\s+(?=[\"'(\u201c\u2018]?[A-Z])")
_JOINED = re.compile(r"[a-z][A-Z][a-z]")
"""Words without a space between them: what is left of a list or a table."""
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_GOES_ON = re.compile(r"(?:please\s+)?(?:continue|go on|keep going|carry on)(?:\s+please)?[.!…]*", re.IGNORECASE)
_TO_COME = re.compile(
    r"[\[(](?:to be )?continued?(?: below| in (?:the )?next \w+)?\.*[\])]\s*\Z"
    r"|(?:would you like|do you want|shall i|should i)\b[^.?!\n]{0,30}\b(?:continue|go on|keep going)\b[^.?!\n]{0,20}"
    r"\?\s*\Z",
    re.IGNORECASE,
)
_JSON = re.compile(r'\s*(?:\{\s*"|\[\s*[\[{"])')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def cut_off(text: str) -> str:
    """How the text stops in mid-sentence; empty where it may be whole.

    It ends in a comma, an opening bracket, a hyphen or a word with which no sentence ends; or its last line is prose of
    at least 8 words, has sentences that end in a mark, and after the last of these at most 60 words that do not, the
    last in lower case. What stands in a list, a heading, a table or code is not judged.
    """
    if "```" in text or "~~~" in text:
        return ""
    last = text.rstrip().rsplit("\n", 1)[-1]
    words = last.split()
    if len(words) < 4:
        return ""
    end = words[-1]
    if end[-1] in ",(" and (len(end) == 1 or end[-2].isalnum()):
        return f"it ends in '{end[-12:]}'"
    if end[-1] in "-\u2013\u2014" and end[:-1].isalpha():
        return f"it ends in '{end[-12:]}'"
    if _open(words) or _unfinished(last, words):
        return f"it ends with '{' '.join(words[-3:])[-40:]}'"
    return ""


def _open(words: list[str]) -> bool:
    """Whether the last word wants another; a single letter may be a name, as of a variable or an option."""
    end, before = words[-1], words[-2]
    return end.lower() in OPEN_WORDS and (len(end) > 1 or (end == "a" and before.isalpha()))


def _unfinished(last: str, words: list[str]) -> bool:
    """Whether the last line holds whole sentences, and then one that is not."""
    if len(words) < LINE or not words[-1].isalpha() or _ITEM.match(last):
        return False
    if not words[-1].islower() and (words[-1].lower() not in STARTS or len(words[-1]) == 1):
        return False
    fragment = _SENTENCE_END.split(last)[-1]
    return fragment != last and len(fragment.split()) <= FRAGMENT and not _JOINED.search(fragment)


def open_fence(text: str) -> bool:
    """Whether a code fence is opened and never closed."""
    return ("```" in text or "~~~" in text) and len(_FENCE.findall(text)) % 2 == 1


def open_json(text: str) -> bool:
    """Whether the text begins as JSON, and a bracket or a string of it is not closed."""
    if not _JSON.match(text):
        return False
    bare = _STRING.sub("", text)
    return '"' in bare or any(bare.count(a) > bare.count(b) for a, b in ("{}", "[]"))


def asks_to_go_on(text: str) -> bool:
    """Whether a prompt asks for nothing but to go on."""
    return _GOES_ON.fullmatch(text.strip()) is not None


def promises_more(text: str) -> bool:
    """Whether an answer ends by saying that it is not finished."""
    return _TO_COME.search(text[-120:]) is not None
