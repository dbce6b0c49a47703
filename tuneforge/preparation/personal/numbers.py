"""Patterns of e-mail, cards, accounts, machines, records and dates."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tuneforge.preparation.personal import validity
from tuneforge.preparation.personal.pattern import Pattern, near

_NO_DOMAIN = r"(?:png|jpe?g|gif|svg|webp|css|js|tsx|html?|pdf|txt)"
"""Endings of files that are no top-level domain: `icon@2x.png`."""
EMAIL = Pattern(
    "EMAIL",
    r"(?<![\p{L}\p{N}.+_%-])[\p{L}\p{N}_](?:[\p{L}\p{N}_.+%'-]{0,63}+)@(?:[\p{L}\p{N}](?:[\p{L}\p{N}_-]{0,62})\.){1,8}"
    rf"(?!{_NO_DOMAIN}\b)(?:xn--[\w-]+|\p{{L}}{{2,24}})(?![\p{{L}}\p{{N}}@])",
    words=r"@",
)
SPELLED = Pattern(
    "EMAIL",
    r"(?i)(?<![\w.])[\w.+-]{2,64}\s?[\[({<]\s?(?:at|@)\s?[\])}>]\s?[\w-]{2,63}"
    r"(?:\s?(?:\.|[\[({<]\s?(?:dot|\.)\s?[\])}>]|\sdot\s)\s?[a-z][\w-]{1,62}){1,4}",
    gate=r"(?i)[\[({<]\s?(?:at|@)\s?[\])}>]",
)

_CARD_WORDS = near(r"\b(?:card|credit|debit|cc|visa|master ?card|amex|maestro|discover|diners|jcb)\b", reach=50)


def _card(text: str, start: int, end: int) -> bool:
    number = text[start:end]
    return validity.card(number) and (len(validity.digits(number)) > 13 or _CARD_WORDS(text, start, end))


CREDIT_CARD = Pattern(
    "CREDIT_CARD",
    r"(?<![\w$€£+]|\d[.,-])(?:\d{4}(?:[ -]\d{4}){2,3}(?:[ -]\d{1,4})?|\d{4}[ -]\d{6}[ -]\d{4,5}|\d{12,19})"
    r"(?!\w|[.,-]\d)",
    keep=_card,
    gate=r"\d(?:[ -]?\d){11}",
    digits=12,
)


def _ibans() -> Iterator[str]:
    """An expression for each length: the countries that have it, two check digits, groups of four and what is left."""
    for length in sorted(set(validity.IBAN_LENGTHS.values())):
        countries = "|".join(c for c, n in validity.IBAN_LENGTHS.items() if n == length)
        rest = rf"[ -]?[A-Z0-9]{{{length % 4}}}" if length % 4 else ""
        yield rf"(?:{countries})\d\d(?:[ -]?[A-Z0-9]{{4}}){{{(length - 4) // 4}}}{rest}"


IBAN = Pattern(
    "IBAN",
    rf"(?i)(?<![\p{{L}}\p{{N}}])(?=[A-Z]{{2}}\d\d)(?:{'|'.join(_ibans())})(?![\p{{L}}\p{{N}}])",
    keep=lambda text, start, end: validity.iban(text[start:end]),
    digits=2,
    gate=r"\d\d(?<=[A-Za-z]\d\d)[ -]?[A-Za-z0-9]{4}",
)

_MACHINE = near(r"\b(?:ip|ipv4|address|host|server|ping|dns|login|logged in|from)\b")


def _ip(text: str, start: int, end: int) -> bool:
    """Small numbers alone (1.2.3.4) are more often a version or a section, unless the words say otherwise."""
    address = text[start:end]
    if not validity.ip(address):
        return False
    small = ":" not in address and all(len(part) < 2 for part in address.split("."))
    return not re.search(r"(?:v|version|release|section|chapter) ?$", text[max(0, start - 9) : start].lower()) and (
        not small or _MACHINE(text, start, end)
    )


IPV4 = Pattern(
    "IP",
    r"(?<![\w.]|\d[,-])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d|-\d)",
    keep=_ip,
    gate=r"\d\.\d{1,3}\.\d{1,3}\.\d",
    digits=4,
)
IPV6 = Pattern(
    "IP",
    r"(?i)(?<![\w:.])(?:(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|(?=[0-9a-f:]{0,39}\d)[0-9a-f]{3,4}(?::[0-9a-f]{1,4}){0,6}::"
    r"(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,5})?)(?![\w:])",
    keep=_ip,
    gate=r":[0-9a-fA-F]{0,4}:",
)

_SSN_WORDS = near(r"\bssn\b|social[ -]security|\bss ?#|\bss no")


def _ssn(text: str, start: int, end: int) -> bool:
    return validity.ssn(text[start:end]) and ("-" in text[start:end] or _SSN_WORDS(text, start, end))


US_SSN = Pattern(
    "US_SSN",
    r"(?<![\w$+]|\d[.,-])(?:\d{3}-\d\d-\d{4}|\d{3} \d\d \d{4}|\d{9})(?!\w|[.,-]\d)",
    keep=_ssn,
    gate=r"\d{3}[- ]?\d\d[- ]?\d{4}",
    digits=9,
)

_RECORD_OF = (
    r"medical record|health record|patient|chart|aadhaar|national insurance|mrn|nhs|insurance|health card|"
    r"member(?:ship)?|subscriber|beneficiary|policy|"
    r"claim|case|account|acct|customer|client|employee|staff|student|passport|national|identity|identification|"
    r"driver'?s?'? licen[cs]e|driving licen[cs]e|licen[cs]e plate|number ?plate|tax(?:payer)?|tin|"
    r"vat|personal|loan|sort code|routing|kundennummer|ausweis(?:nummer)?|steuer(?:nummer)?|versicherungsnummer"
)
_CALLED = r"(?:id|i\.d\.|numbers?|no\.?|num\.?|nr\.?|code|ref(?:erence)?|#)"
_RECORD = near(
    rf"(?<!\w)(?:(?:{_RECORD_OF})(?:'s)?\s?{_CALLED}|mrn|\w+nummer|licen[cs]e plate)(?:\s?\((?:mrn|id)\))?"
    r"[\s:=#-]{0,4}(?:(?:is|was)[\s:]{0,3})?#?$",
    reach=60,
)


def _record(text: str, start: int, end: int) -> bool:
    return end - start >= 4 and len(validity.digits(text[start:end])) >= 3 and _RECORD(text, start, end)


RECORD_NUMBER = Pattern(
    "RECORD_NUMBER",
    r"(?i)(?<![\w.,$€£/-])(?!(?:mrn|no|nr|ids?|num|ref|code|is|was)\b)(?:[A-Z]{1,4}[ -])?(?=[A-Z]{0,9}\d)[A-Z0-9]{2,20}"
    r"(?:[-/][A-Z0-9]{1,12}){0,5}(?![\w%€]|[.,]\d)",
    keep=_record,
    words=r"number|nummer|mrn|plate|[ _(\n]id[ :#.=)]|i\.d|no[.:#]|no \d|num\.|nr\.? \d|code|ref[. :#e]|[a-z] ?#",
    gate=r"\d[A-Za-z/-]?\d[A-Za-z/-]?\d",
    digits=3,
)

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DATE = (
    r"(?<![\w.,/-])(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})|"
    rf"\d{{1,2}}(?:st|nd|rd|th|\.)?\s(?:of\s)?{_MONTH},?\s\d{{4}}|{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}})"
    r"(?!\w|[-/]\d)"
)
_BORN = near(
    r"(?:\bborn\b|\bbirth|\bd\.?o\.?b\b|\bgeb(?:oren|urtsdatum|\.)|\bn[ée]e? le\b|naissance|nacimiento|nascimento|"
    r"nascita)[^\d]{0,28}$"
)


def _calendar(text: str, start: int, end: int) -> bool:
    return validity.day(text[start:end])


DATE_OF_BIRTH = Pattern(
    "DATE_OF_BIRTH",
    rf"(?i){_DATE}",
    keep=lambda text, start, end: _BORN(text, start, end) and _calendar(text, start, end),
    words=r"born|birth|dob|d\.o\.b|geb|né|naissance|nacimiento|nascimento|nascita",
    digits=4,
)
DATE = Pattern("DATE", rf"(?i){_DATE}", keep=_calendar, gate=r"\d[-/.]\d|\d{4}", digits=4)
AGE = Pattern(
    "AGE",
    r"(?i)(?<![\w.,$-])(?:(?P<value>\d{1,3})(?=[ -]?(?:years?|yrs?)[ -]?(?:old|of age)|[ -]?y/?o\b)|"
    r"(?:aged?|age is|age:|(?:just )?turn(?:s|ed|ing)?|at the age of|(?:s?he|i|they) (?:was|were|is|am))\s(?:\p{L}+\s)?"
    r"(?P<value>\d{1,2}|1[01]\d)(?=\s*(?:[,;!?)]|\.(?!\d)|$)))",
    keep=lambda text, start, end: 0 < int(text[start:end]) < 120,
    words=r"year|yr|y/o|yo|age|turn| was | were | is | am ",
    digits=1,
)
URL = Pattern("URL", r"(?i)(?<!\w)(?:https?://|ftp://|www\.)[^\s<>\"'\])}|,;]{3,}(?<![.!?:])", words=r"://|www\.")
POSTAL_CODE = Pattern(
    "POSTAL_CODE",
    r"(?i)(?<!\w)(?:zip(?:[ -]?code)?|post(?:al)?[ -]?code|plz|postleitzahl|code postal)(?!\w)\s?"
    r"(?:is|of|[:#=])?\s{0,3}"
    r"(?P<value>\d{3,5}(?:[ -]\d{2,4})?(?:\s[A-Z]{2})?|[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})(?!\w)",
    words=r"zip|post|plz",
    digits=1,
)

PATTERNS = (
    EMAIL, SPELLED, CREDIT_CARD, IBAN, IPV4, IPV6, US_SSN, RECORD_NUMBER, DATE_OF_BIRTH, DATE, AGE, URL, POSTAL_CODE
)  # fmt: skip
