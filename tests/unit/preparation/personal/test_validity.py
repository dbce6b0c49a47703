"""Checksums and ranges, against presidio's and at their edges."""

from __future__ import annotations

import random

import pytest

from tuneforge.preparation.personal import validity
from tuneforge.preparation.personal.surrogates import TEST_CARDS


def test_luhn_and_iban_agree_with_presidio() -> None:
    analyzer = pytest.importorskip("presidio_analyzer.predefined_recognizers")
    cards, ibans, draw = analyzer.CreditCardRecognizer(), analyzer.IbanRecognizer(), random.Random(0)
    for _ in range(2000):
        number = "".join(draw.choice("0123456789") for _ in range(16))
        assert validity.luhn(number) == cards.validate_result(number), number
    for known in ("GB82WEST12345698765432", "DE89370400440532013000", "FR1420041010050500013M02606"):
        for place in range(len(known)):
            for new in "07A":
                changed = known[:place] + new + known[place + 1 :]
                if validity.IBAN_LENGTHS.get(changed[:2]) == len(changed):
                    assert validity.iban(changed) == bool(ibans.validate_result(changed)), changed


@pytest.mark.parametrize("number", TEST_CARDS)
def test_cards_of_payment_providers_are_cards_and_any_changed_digit_is_not(number: str) -> None:
    assert validity.card(number)
    for place in range(len(number)):
        changed = number[:place] + str((int(number[place]) + 1) % 10) + number[place + 1 :]
        assert not validity.luhn(changed)


@pytest.mark.parametrize("number", ["", "0", "4", "0000000000000000", "79927398713", "41111111111111111111"])
def test_what_no_network_issues_is_no_card(number: str) -> None:
    assert not validity.card(number)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("29/02/2000", True), ("29/02/1900", False), ("2000-02-30", False), ("31.12.99", True), ("1/1/2999", False),
        ("12 March 1985", True), ("March 12, 1985", True), ("31 June 1985", False), ("1985-13-01", True),
        ("1985", False), ("13/13/1985", False), ("1985-13-13", False),
    ],
)  # fmt: skip
def test_days_of_the_calendar(text: str, valid: bool) -> None:
    assert validity.day(text) is valid


def test_social_security_numbers_that_were_never_issued() -> None:
    bad = ["000-12-3456", "666-12-3456", "900-12-3456", "999-99-9999", "123-00-4567", "123-45-0000"]
    assert not any(map(validity.ssn, bad))
    assert all(map(validity.ssn, ["001-01-0001", "665-99-9999", "667-12-3456", "899-01-0001"]))
