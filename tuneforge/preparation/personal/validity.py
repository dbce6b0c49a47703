"""What a number must satisfy to be what it looks like: checksums, ranges, calendars."""

from __future__ import annotations

import ipaddress
import re
from datetime import date

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
"""Characters of an IBAN by country (SWIFT's IBAN registry, ISO 13616)."""

_NETWORKS = (
    (r"4", (13, 16, 19)),
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),
    (r"3[47]", (15,)),
    (r"30[0-5]|3[689]", (14, 16)),
    (r"35", (16, 19)),
    (r"2131|1800", (15,)),
    (r"5[06-8]|6", range(12, 20)),
)
"""First digits and lengths of the networks that issue cards: Visa, Mastercard, American Express, Diners, JCB (two),
Maestro with Discover and UnionPay."""
_CARDS = tuple((re.compile(first), lengths) for first, lengths in _NETWORKS)

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def digits(text: str) -> str:
    """The decimal digits of a text."""
    return "".join(c for c in text if c.isdigit())


def luhn(number: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    found = [int(c) for c in reversed(digits(number))]
    doubled = (sum(divmod(2 * d, 10)) for d in found[1::2])
    return bool(found) and (sum(found[::2]) + sum(doubled)) % 10 == 0


def card(number: str) -> bool:
    """Whether a payment network issues numbers that begin so, of this length, and the check digit is right."""
    plain = digits(number)
    return any(len(plain) in lengths and first.match(plain) for first, lengths in _CARDS) and luhn(plain)


def iban(number: str) -> bool:
    """Whether the length is the country's and the remainder modulo 97 is one (ISO 7064, MOD 97-10)."""
    plain = re.sub(r"[\s-]", "", number).upper()
    if IBAN_LENGTHS.get(plain[:2]) != len(plain) or not (plain.isalnum() and plain.isascii()):
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def ip(text: str) -> bool:
    """Whether it is an address of a machine: neither unspecified, loopback, multicast nor a mask of a network."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or text.startswith("255."))


def ssn(number: str) -> bool:
    """Whether the US Social Security Administration may have issued it: no area 000, 666 or 9xx, no zeros alone."""
    plain = digits(number)
    area, group, serial = plain[:3], plain[3:5], plain[5:]
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def day(text: str) -> bool:
    """Whether the date is one of the calendar between 1900 and this year, in any order of day and month."""
    month = next((MONTHS.index(w) + 1 for w in re.findall(r"[a-z]{3}", text.lower()) if w in MONTHS), None)
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    if len(numbers) + (month is not None) != 3:
        return False
    at = max(range(len(numbers)), key=lambda i: (numbers[i] > 31, i))
    year, others = numbers.pop(at), numbers
    years = (year,) if year > 99 else (1900 + year, 2000 + year)
    pairs = [(month, others[0])] if month else [(others[0], others[1]), (others[1], others[0])]
    return any(_exists(y, *pair) for y in years for pair in pairs)


def _exists(year: int, month: int, number: int) -> bool:
    try:
        return 1900 <= year <= date.today().year and bool(date(year, month, number))
    except ValueError:
        return False
