"""Telephone numbers: by their form where it is theirs alone, else by the words around them."""

from __future__ import annotations

import re

from tuneforge.preparation.personal import validity
from tuneforge.preparation.personal.pattern import NUMBER, Pattern, near

_EXTENSION = r"(?:\s?(?:x|ext\.?|extension)\s?\d{1,6})?"
_OWN_FORMS = re.compile(
    r"(?:"
    r"\+\d(?:[ .\-/()]{0,3}\d){7,14}"  # international, with the sign
    r"|00[1-9](?:[ .\-/()]{0,3}\d){8,13}"  # international, dialled
    r"|(?:1[ .-])?\d{3}-\d{3}-\d{4}|(?:1[ .-])?\d{3}\.\d{3}\.\d{4}"  # North America, with marks between
    r"|[2-9]\d\d [2-9]\d\d \d{4}"  # the same with spaces
    r"|0\d{2,4}[-/]\d{6,8}"  # national, an area code and a number
    r"|(?:1[ .-]?)?\(\d{2,4}\)[ -]?\d{3,4}[ .-]?\d{3,4}"  # an area code in brackets
    r"|0\d{1,4}(?:[ .\-/]\d{2,4}){2,4}"  # national, with the trunk prefix, in groups
    r")" + _EXTENSION
)
_DATES = re.compile(r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?: \d{1,2})?")
_LONE_DIGIT = re.compile(r"[^\d(]\d(?!\d)")
_NOT_A_PHONE = re.compile(
    r"\b(?:isbn|issn|doi|pmid|no|version|model|part|serial|order|tracking|port|ids?)\b[^\n]{0,14}$"
)
_WORDS = near(
    r"\b(?:(?:tele)?phones?|tel|tél|telefon(?:e|o)?|téléphone|mobile|cell(?:phone)?|fax|call(?:ed|ing)?|dial|ring|sms|"
    r"text(?: me| us)?|whats ?app|contact|reach(?: me| us| him| her)?|hotline|landline|handy|pager|desk|"
    r"office|messages? (?:to|on|at)|answering at|registered|(?:my|his|her|their|our|your) (?:\w+ )?number)\b"
    r"\.?[^.!?\d]{0,30}$",
    r"[\s,\\-]{0,3}(?:\(?(?:office|fax|mobile|cell|home|work|desk|phone|tel|landline)\b)",
)


def _phone(text: str, start: int, end: int) -> bool:
    value = text[start:end]
    number = validity.digits(re.sub(r"(?:x|ext).*", "", value))
    before = text[max(0, start - 24) : start].lower()
    if not 7 <= len(number) <= 15 or _DATES.fullmatch(value) or _NOT_A_PHONE.search(before):
        return False
    if _OWN_FORMS.fullmatch(value) and not (value[0] == "0" and len(number) < 10):
        return not (value[1:].isdigit() and len(number) > 13)
    grouped = not _LONE_DIGIT.search(value) and ("/" not in value or value[0] == "0")
    return grouped and len(number) <= 12 and _WORDS(text, start, end)


PHONE = Pattern(
    "PHONE",
    r"(?<![\w$€£¥#=/.-])(?<!\d[ ,:])(?<!\d,)(?:\+\s?|\(\+?)?\d(?:[ .\-/()]{0,3}\d){6,14}"
    + _EXTENSION
    + r"(?!\w|[%€£:=*^]|[.,-]\d)",
    keep=_phone,
    gate=NUMBER,
    digits=7,
)
PATTERNS = (PHONE,)
