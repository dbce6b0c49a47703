"""The 25 kinds of verifiable instructions of IFEval (Zhou and others 2023, arXiv:2311.07911, table 4).

Each function says whether an answer follows one; its parameters are named like the keys of `kwargs` in that data set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from itertools import chain
from typing import Any

from tuneforge.preparation.sentences import ABBREVIATION


class Relation(StrEnum):
    """How a count is held against its bound."""

    at_least = "at least"
    less_than = "less than"

    def holds(self, count: int, bound: int) -> bool:
        """Whether the count stands so to the bound."""
        return count >= bound if self is Relation.at_least else count < bound


BULLET = re.compile(r"^\s*(?:\*(?!\*)|-(?!-)).*\S", re.MULTILINE)
CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
END = re.compile(r"[.!?\u2026]+[\"'\u201d\u2019)\]*_]*(?=\s|\Z)|[\u3002\uff01\uff1f\u0964]")
HIGHLIGHT = re.compile(r"\*\*[^\n*]*[^\s*][^\n*]*\*\*|\*[^\n*]*[^\s*][^\n*]*\*")
ORDINAL = re.compile(r"^\W*\d+\.\Z", re.MULTILINE)
WORD = re.compile(r"\w+(?:[-.'\u2019]\w+)*")


def existence(answer: str, keywords: list[str]) -> bool:
    """Every keyword stands in it, also within a word, whatever its case."""
    return all(word.casefold() in answer.casefold() for word in keywords)


def frequency(answer: str, relation: Relation, keyword: str, frequency: int) -> bool:
    """How often the keyword stands in it, also within a word, whatever its case."""
    return relation.holds(answer.casefold().count(keyword.casefold()), frequency)


def forbidden_words(answer: str, forbidden_words: list[str]) -> bool:
    """None of the words stands in it as a word of its own, whatever its case."""
    return not any(re.search(rf"(?<!\w){re.escape(w)}(?!\w)", answer, re.IGNORECASE) for w in forbidden_words)


def letter_frequency(answer: str, let_relation: Relation, letter: str, let_frequency: int) -> bool:
    """How often the letter stands in it, whatever its case."""
    return let_relation.holds(answer.lower().count(letter.lower()), let_frequency)


def response_language(answer: str, language: str) -> bool:
    """It is in the language of that ISO 639-1 code."""
    return spoken(answer) == language


def number_paragraphs(answer: str, num_paragraphs: int) -> bool:
    """So many paragraphs, divided by `***`; none between two dividers is empty."""
    parts = _trimmed(re.split(r"\s?\*\*\*\s?", answer))
    return all(parts) and len(parts) == num_paragraphs


def number_words(answer: str, relation: Relation, num_words: int) -> bool:
    """Words are runs of letters, digits and underscores."""
    return relation.holds(len(re.findall(r"\w+", answer)), num_words)


def number_sentences(answer: str, relation: Relation, num_sentences: int) -> bool:
    """Sentences end with a full stop, question or exclamation mark; a rest without one counts too."""
    return relation.holds(_sentences(answer), num_sentences)


def nth_paragraph_first_word(answer: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """So many paragraphs, divided by blank lines, of which the n-th begins with that word, whatever its case."""
    parts = [part for part in re.split(r"\n\n", answer) if part.strip()]
    if len(parts) != num_paragraphs or not 1 <= nth_paragraph <= len(parts):
        return False
    first = re.match(r"[\"'\u201c\u2018*_]*([^\s.,?!:;\"'\u201d\u2019*_]+)", parts[nth_paragraph - 1].strip())
    return first is not None and first[1].lower() == first_word.lower()


def number_placeholders(answer: str, num_placeholders: int) -> bool:
    """At least so many placeholders in square brackets."""
    return len(re.findall(r"\[.*?\]", answer)) >= num_placeholders


def postscript(answer: str, postscript_marker: str) -> bool:
    """A postscript stands in it; the marker's letters may be set apart by spaces."""
    marker = r"\s?".join(re.escape(letter) for letter in postscript_marker if not letter.isspace())
    return re.search(rf"(?<!\w){marker}", answer, re.IGNORECASE) is not None


def number_bullet_lists(answer: str, num_bullets: int) -> bool:
    """Exactly so many lines that begin with `*` or `-`."""
    return len(BULLET.findall(answer)) == num_bullets


def constrained_response(answer: str) -> bool:
    """One of the three allowed answers stands in it."""
    return any(one in answer for one in CONSTRAINED)


def number_highlighted_sections(answer: str, num_highlights: int) -> bool:
    """At least so many passages within asterisks on one line."""
    return len(HIGHLIGHT.findall(answer)) >= num_highlights


def multiple_sections(answer: str, section_spliter: str, num_sections: int) -> bool:
    """At least so many headings of the word and a number."""
    return len(re.findall(rf"\b{re.escape(section_spliter.strip())}\s?\d+", answer)) >= num_sections


def json_format(answer: str) -> bool:
    """The whole answer is JSON, in a fenced block or bare."""
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", answer.strip(), re.DOTALL | re.IGNORECASE)
    try:
        json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError):
        return False
    return True


def title(answer: str) -> bool:
    """A title in double angular brackets stands in it."""
    return any(found.strip("<> ") for found in re.findall(r"<<[^\n]+?>>", answer))


def two_responses(answer: str) -> bool:
    """Two different answers, divided by six asterisks."""
    parts = _trimmed(answer.split("******"))
    return all(parts) and len(parts) == 2 and parts[0] != parts[1]


def repeat_prompt(answer: str, prompt_to_repeat: str) -> bool:
    """It begins with the request, whatever its case."""
    return answer.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(answer: str, end_phrase: str) -> bool:
    """It ends with that phrase, whatever its case; quotation marks around it aside."""
    return answer.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(answer: str) -> bool:
    """It stands in double quotation marks."""
    text = answer.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def capital_word_frequency(answer: str, capital_relation: Relation, capital_frequency: int) -> bool:
    """Words whose letters are all capital."""
    return capital_relation.holds(sum(map(str.isupper, WORD.findall(answer))), capital_frequency)


def english_capital(answer: str) -> bool:
    """English, in capital letters."""
    return answer.isupper() and spoken(answer) == "en"


def english_lowercase(answer: str) -> bool:
    """English, in lowercase letters."""
    return answer.islower() and spoken(answer) == "en"


def no_comma(answer: str) -> bool:
    """Not a single comma."""
    return "," not in answer


CHECKS: dict[str, Callable[..., bool]] = {
    f"{group}:{check.__name__}": check
    for group, checks in {
        "keywords": (existence, frequency, forbidden_words, letter_frequency),
        "language": (response_language,),
        "length_constraints": (number_paragraphs, number_words, number_sentences, nth_paragraph_first_word),
        "detectable_content": (number_placeholders, postscript),
        "detectable_format": (
            number_bullet_lists, constrained_response, number_highlighted_sections, multiple_sections, json_format,
            title,
        ),
        "combination": (two_responses, repeat_prompt),
        "startend": (end_checker, quotation),
        "change_case": (capital_word_frequency, english_capital, english_lowercase),
        "punctuation": (no_comma,),
    }.items()
    for check in checks
}  # fmt: skip
"""Name of the kind, as data sets write it, to what checks it."""
SPOKEN = {check for check in CHECKS if check.startswith(("language:", "change_case:english"))}
"""Those that need a library to tell languages apart."""


def spoken(text: str) -> str:
    """The ISO 639-1 code of the text's language; case plays no part."""
    return str(identifier().classify(text.lower())[0])


@cache
def identifier() -> Any:
    """What tells languages apart, offline (after Lui and Baldwin 2012, langid.py)."""
    from py3langid import langid

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)


def _trimmed(parts: list[str]) -> list[str]:
    """Without white space around the parts, and without empty ones at either end."""
    found = [part.strip() for part in parts]
    return found[not found[0] : len(found) - (not found[-1])]


def _sentences(text: str) -> int:
    """Ends of sentences that are no abbreviation's or ordinal's, and a rest that holds a word."""
    ends = [match.end() for match in END.finditer(text) if not _goes_on(text[: match.end()])]
    rest = text[ends[-1] if ends else 0 :]
    return len(ends) + bool(re.search(r"\w", rest))


def _goes_on(before: str) -> bool:
    return bool(ABBREVIATION.search(before[-20:]) or ORDINAL.search(before[-200:]))


def loosened(answer: str) -> list[str]:
    """The answer as the loose metrics read it: with and without its first and last line, and its asterisks."""
    lines = answer.split("\n")
    cut = [answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return list(chain.from_iterable((text, text.replace("*", "")) for text in cut))
