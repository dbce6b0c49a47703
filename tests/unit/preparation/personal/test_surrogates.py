"""Made-up values: of the same form, valid where there is a checksum, and nobody's."""

from __future__ import annotations

import ipaddress
import random
import re

import pytest

from tuneforge.preparation.personal import validity
from tuneforge.preparation.personal.recogniser import Recogniser
from tuneforge.preparation.personal.surrogates import harmless, surrogate

VALUES = {
    "EMAIL": "anna@posteo.de", "PHONE": "(415) 867-5309", "CREDIT_CARD": "4539 5787 6362 1486",
    "IBAN": "GB82 WEST 1234 5698 7654 32", "IP": "84.12.33.9",
}  # fmt: skip
NUMBERS = [*range(40), 99, 100, 761, 762, 763, 900, 999, 1000, 5000]


def made(kind: str, value: str, number: int = 0) -> str:
    return surrogate(kind, value, number, random.Random(number))


@pytest.mark.parametrize("kind", VALUES)
def test_is_found_again_as_that_kind_and_is_reserved(kind: str) -> None:
    found = [made(kind, VALUES[kind], n) for n in NUMBERS]
    assert len(set(found)) == len(found)
    for value in found:
        assert harmless(kind, value), value
        if not validity.digits(value).startswith("9999"):  # no network issues these
            assert [s.kind for s in Recogniser([kind]).spans(f"my card is {value}")] == [kind], value


@pytest.mark.parametrize("value", ["4539578763621486", "4539 5787 6362 1486", "371449635398431", "3530-1113-3330-0000"])
def test_cards_pass_the_checksum_with_the_same_marks(value: str) -> None:
    for n in NUMBERS:
        card = made("CREDIT_CARD", value, n)
        assert validity.luhn(card)
        assert re.sub(r"\d", "", card)[:1] == re.sub(r"\d", "", value)[:1]


@pytest.mark.parametrize("value", ["DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "NO9386011117947"])
def test_ibans_are_valid_of_the_same_country_and_of_a_bank_of_zeros(value: str) -> None:
    for n in NUMBERS:
        iban = made("IBAN", value, n)
        assert validity.iban(iban)
        assert iban[:2] == value[:2]
        assert set(iban.replace(" ", "")[4:10]) <= {"0", "X"}


def test_addresses_of_machines_are_those_for_documentation() -> None:
    reserved = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")]
    for n in NUMBERS:
        assert any(ipaddress.ip_address(made("IP", "84.12.33.9", n)) in net for net in reserved)
        assert ipaddress.ip_address(made("IP", "2a00::1", n)) in ipaddress.ip_network("2001:db8::/32")


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("415-867-5309", r"\d{3}-555-01\d\d"),
        ("(415) 867-5309", r"\(\d{3}\) 555-01\d\d"),
        ("4158675309", r"\d{3}55501\d\d"),
        ("+49 30 901820", r"\+1-\d{3}-555-01\d\d"),
        ("+44 7911 123456", r"\+44 7700 900\d{3}"),
        ("07911 123456", r"07700 900\d{3}"),
    ],
)
def test_telephone_numbers_are_those_of_fiction(value: str, form: str) -> None:
    assert all(re.fullmatch(form, made("PHONE", value, n)) for n in range(100))


@pytest.mark.parametrize("value", ["12/03/1985", "1985-03-12", "12 March 1985", "March 12th, 1985", "3.12.85"])
def test_dates_stay_dates_of_their_form(value: str) -> None:
    for n in range(20):
        new = made("DATE_OF_BIRTH", value, n)
        assert validity.day(new), new
        shape = re.compile(r"[A-Za-z]+")
        assert re.sub(r"\d+", "0", shape.sub("A", new)) == re.sub(r"\d+", "0", shape.sub("A", re.sub("th", "", value)))


def test_social_security_numbers_are_never_issued_and_records_are_zeros() -> None:
    assert not any(validity.ssn(made("US_SSN", "460-89-9847", n)) for n in NUMBERS)
    assert made("RECORD_NUMBER", "HX-203948/7", 0) == "XX-000000/1"
    assert made("RECORD_NUMBER", "HX-203948/7", 12) == "XX-000001/3"
    assert made("TICKET", "AB1", 41) == "XX42"
