"""Values of the same form that belong to nobody: what standards reserve for documentation, fiction and tests.

E-mail and URLs: example.com, .org, .net (RFC 2606). IPv4: RFC 5737, then RFC 2544; IPv6: RFC 3849.
Telephone numbers: 555-01XX in North America (NANPA), 07700 900XXX in Britain (Ofcom). Cards: the numbers that payment
providers publish for tests, then numbers of the industry identifier 9 with a country code that does not exist. IBAN: a
bank of zeros, with right check digits. US social security numbers: area 000, which is never issued.
"""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Callable

from tuneforge.preparation.personal import validity

FIRST = re.findall(
    r"\w+",
    "Alex Avery Blake Casey Dana Eden Emery Finley Harper Jamie Jordan Jules Kerry Lane Logan Marlow Morgan Noel "
    "Parker Quinn Reese Robin Rowan Sage Sasha Shiloh Sidney Skyler Tatum Taylor",
)
LAST = re.findall(
    r"\w+",
    "Alderbrook Applemere Ashwick Birchfold Brackenby Briarstone Cloverly Copperdale Dovecroft Elmstead Fernhollow "
    "Foxmere Gorsewell Hazelby Heathcombe Ivyford Larkmoor Lindenholt Maplewick Meadowby Oakhollow Pinebury Quillmere "
    "Rowanstead Sedgewick Thistleby Underbough Vinecroft Willowmere Yarrowby",
)
"""Made up, so that no combination is likely to be somebody's name."""
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November")
TEST_CARDS = (
    "4242424242424242", "4111111111111111", "4012888888881881", "5555555555554444", "5105105105105100",
    "2223003122003222", "378282246310005", "371449635398431", "30569309025904", "38520000023237",
    "6011111111111117", "6011000990139424", "3530111333300000", "3566002020360505",
)  # fmt: skip
NETS = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")

Maker = Callable[[str, int, random.Random], str]


def surrogate(kind: str, value: str, number: int, draw: random.Random) -> str:
    """A value in the place of `value`, the `number`th of its kind from 0; without a rule of its own of its shape."""
    return _MAKERS.get(kind, _shape)(value, number, draw)


def harmless(kind: str, value: str) -> bool:
    """Whether the value is reserved for documentation, tests or inner networks, so that it is nobody's."""
    plain = validity.digits(value)
    if kind == "EMAIL":
        return (
            re.search(r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|(?:example|test|invalid|localhost))$", value.lower())
            is not None
        )
    if kind == "IP":
        return not ipaddress.ip_address(value).is_global or ipaddress.ip_address(value) in ipaddress.ip_network(NETS[3])
    if kind == "PHONE":
        return re.fullmatch(r"1?\d{3}(?:55501\d\d|5555555)|(?:44|0)7700900\d{3}|\d{3}555\d{4}", plain) is not None
    if kind == "CREDIT_CARD":
        return plain in TEST_CARDS or plain.startswith("9999")
    if kind == "IBAN":
        return re.fullmatch(r"\w{4}[X0]+\d{1,6}", re.sub(r"\W", "", value)) is not None
    return False


def _pick(draw: random.Random, number: int) -> tuple[str, str]:
    """First and last name: different ones for the first 900 numbers of one scope."""
    shift = number + draw.randrange(len(FIRST))
    return FIRST[shift % len(FIRST)], LAST[(number // len(FIRST) + shift * 7) % len(LAST)]


def _person(value: str, number: int, draw: random.Random) -> str:
    first, last = _pick(draw, number)
    middle = f" {chr(65 + number // 900 % 26)}." if number >= 900 else ""
    return f"{first}{middle} {last}" if " " in value.strip() else first


def _email(value: str, number: int, draw: random.Random) -> str:
    first, last = _pick(draw, number)
    return f"{first}.{last}{number or ''}@example.{draw.choice(('com', 'org', 'net'))}".lower()


def _phone(value: str, number: int, draw: random.Random) -> str:
    plain = validity.digits(value)
    if plain.startswith(("447", "07")) and number < 1000:
        return f"{'+44 7700' if plain.startswith('4') else '07700'} 900{number:03}"
    area, line = str(201 + number // 100 % 789), f"01{number % 100:02}"
    if value.lstrip().startswith(("+", "00")):
        return f"+1-{area}-555-{line}"
    if "(" in value:
        return f"({area}) 555-{line}"
    mark = next((c for c in value if c in "-. "), "")
    return mark.join((area, "555", line))


def _card(value: str, number: int, draw: random.Random) -> str:
    if number < len(TEST_CARDS):
        made = TEST_CARDS[number]
    else:
        body = f"9999{number:0{max(1, len(validity.digits(value)) - 5)}}"
        made = next(body + str(c) for c in range(10) if validity.luhn(body + str(c)))
    mark = next((c for c in value if c in " -"), "")
    return mark.join(made[i : i + 4] for i in range(0, len(made), 4)) if mark else made


def _iban(value: str, number: int, draw: random.Random) -> str:
    plain = re.sub(r"\W", "", value).upper()
    tail = "".join("X" if c.isalpha() else "0" for c in plain[4:])
    tail = tail[: -len(str(number))] + str(number)
    rest = int("".join(str(int(c, 36)) for c in tail + plain[:2] + "00")) % 97
    made = f"{plain[:2]}{98 - rest:02}{tail}"
    return " ".join(made[i : i + 4] for i in range(0, len(made), 4)) if " " in value else made


def _ip(value: str, number: int, draw: random.Random) -> str:
    if ":" in value:
        return str(ipaddress.ip_address("2001:db8::") + number + 1)
    for net in map(ipaddress.ip_network, NETS):
        if number < net.num_addresses - 2:
            return str(net[number + 1])
        number -= net.num_addresses - 2
    return str(ipaddress.ip_network(NETS[3])[number % 131070 + 1])


def _ssn(value: str, number: int, draw: random.Random) -> str:
    mark = next((c for c in value if c in "- "), "")
    return mark.join(("000", f"{number // 9999 % 99 + 1:02}", f"{number % 9999 + 1:04}"))


def _url(value: str, number: int, draw: random.Random) -> str:
    return f"https://www.example.com/{number + 1}"


def _address(value: str, number: int, draw: random.Random) -> str:
    return f"{number + 1} Example Street, Sampleton"


def _date(value: str, number: int, draw: random.Random) -> str:
    """The same form: days and months from 1 to 12, so that either order is a date; the year moved by up to three."""

    def change(match: re.Match[str]) -> str:
        found = match[0]
        if found.isalpha():
            month = draw.choice(MONTHS)
            return month[: len(found)] if len(found) == 3 else month
        if len(found) == 4:
            return str(int(found) + draw.choice((-3, -2, -1, 1, 2, 3)))
        return f"{draw.randint(1, 12):0{len(found)}}"

    return re.sub(r"\d+|[A-Za-z]{3,}", change, re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1", value))


def _age(value: str, number: int, draw: random.Random) -> str:
    return str(min(max(int(validity.digits(value) or 40) + draw.choice((-4, -3, -2, 2, 3, 4)), 1), 89))


def _shape(value: str, number: int, draw: random.Random) -> str:
    """Letters become X and digits 0, the last digits the number: no record has such a one."""
    places = [i for i, c in enumerate(value) if c.isdigit()]
    counted = str(number + 1).rjust(len(places), "0")
    made = ["X" if c.isalpha() else c for c in value]
    for place, digit in zip(places, counted, strict=False):
        made[place] = digit
    return "".join(made) + counted[len(places) :]


_MAKERS: dict[str, Maker] = {
    "PERSON": _person, "EMAIL": _email, "PHONE": _phone, "CREDIT_CARD": _card, "IBAN": _iban, "IP": _ip,
    "US_SSN": _ssn, "URL": _url, "ADDRESS": _address, "DATE_OF_BIRTH": _date, "DATE": _date, "AGE": _age,
}  # fmt: skip
