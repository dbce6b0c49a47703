"""What is recognised and what is not, kind by kind; no pattern takes long."""

from __future__ import annotations

import re

import pytest

from tuneforge.preparation.personal.kinds import Span, beside, resolved
from tuneforge.preparation.personal.pattern import Pattern
from tuneforge.preparation.personal.recogniser import CORE, Recogniser, Unfinished

POSITIVE = {
    "EMAIL": [
        "write to [anna.keller@posteo.de]", "[ANNA+news@Sub.Domain.co.uk], please", "<[a@b.io]>", "mailto:[x_y@web.de]",
        "e-mail=[o'neill@firma.ie].", "([first-last@uni-köln.de])", "mail [ana@correo.gob.mx]; thanks",
        "two: [a1@b2.com] and [c3@d4.org]", "[jürgen@müller.de]", "write [bob.smith (at) mail (dot) com]",
        "[info [at] firma.de]", "[ann%list@host.museum]", "'[mcushing7 (at) hotmail (dot) com]'",
    ],
    "PHONE": [
        "call [(415) 867-5309]", "[415-867-5309]", "[415.867.5309 x12]", "[+44 7911 123456]", "[+49 (0)30 901820]",
        "tel. [030 1234567]", "my phone is [467 3395]", "Phone:\n[60-56-85-91]", "[01.84.17.61.18]",
        "[001-518-640-0854]", "fax: [9498777106]", "[07700 063 966]-Fax", "[416 60 039] office",
        "call me on [9472 7916]?", "(Mobile) [0490 75 40 81]", "[1-800-555-3535]", "[415 867 5309] is mine",
        "[0151-23456789]", "WhatsApp [+55 11 91234-5678]",
    ],
    "CREDIT_CARD": [
        "card [4539578763621486]", "[4539 5787 6362 1486]", "[4539-5787-6362-1486].", "amex [3782 822463 10005]",
        "[371449635398431]", "[5555555555554444]", "[2223003122003222]", "[6011111111111117]", "[3530111333300000]",
        "[30569309025904]", "my credit card is [630427373398]", "[4131034282458809939]", "cc: [4222222222222]",
    ],
    "IBAN": [
        "[DE89370400440532013000]", "[DE89 3704 0044 0532 0130 00] please", "[GB82WEST12345698765432]",
        "[gb82 west 1234 5698 7654 32] to other accounts", "IBAN:[FR1420041010050500013M02606]",
        "[NO9386011117947]", "[CH9300762011623852957],", "[ES91-2100-0418-4502-0005-1332]", "[NL91ABNA0417164300]",
        "[MT84MALT011000012345MTLCAST001S]", "[BE68539007547034].",
    ],
    "IP": [
        "from [84.12.33.9]", "[192.168.1.10]:8080", "dns [8.8.8.8] or [8.8.4.4]",
        "[172.61.42.192],", "ip=[41.173.96.26]", "[2001:db8::1]", "[2001:0db8:85a3:0000:0000:8a2e:0370:7334]",
        "[fe80::1ff:fe23:4567:890a]", "|[106.31.73.20]|", "ping [10.0.0.1]", "~x@[213.151.107.243] has joined",
    ],
    "US_SSN": [
        "[078-05-1120]", "SSN: [460-89-9847]", "ssn [460 89 9847]", "his social security number is [460899847]",
        "([853-37-1694])", "[001-01-0001].", "SS# [219-09-9999]", "social security: [457-55-5462]",
        "number [665-12-3456], ok", "ssn=[123456789]",
    ],
    "RECORD_NUMBER": [
        "MRN [4711-8834]", "MRN: [00483921]", "patient ID [P-20394]", "medical record number is [84-22-199]",
        "policy no. [HX203948]", "account number [0034829112]", "Account #[99120034]", "claim number: [C2023/4451]",
        "passport number [X1234567]", "my driver's license number is [F162823540116]", "member id = [W449201]",
        "customer no [48213]", "NHS number [9434765919]", "Kundennummer: [8829301]",
    ],
    "DATE_OF_BIRTH": [
        "born on [12/03/1985]", "DOB: [1985-03-12]", "date of birth: [12 March 1985]", "born [March 12, 1985] in Rome",
        "d.o.b. [3.12.85]", "She was born on [2/8/1935].", "geboren am [12.03.1985]", "birthday is [5th of May 1990]",
        "Please tell me your date of birth. It's [6/24/1991]", "birthdate=[1990-05-15]", "né le [14/07/1989]",
    ],
    "ADDRESS": [
        "I live at [221B Baker Street, London]", "[1600 Pennsylvania Avenue, Washington, DC 20500]",
        "[742 Evergreen Terrace]", "[Hauptstraße 12, 10115 Berlin]", "[12 rue des Martyrs, 75009 Paris]",
        "[Calle de Alcalá 42]", "[Via Roma 7]", "[P.O. Box 104]", "[PSC 0413, Box 8144\nAPO AA 42323]",
        "Address: [14 Ellery Mews, Bath]", "[Villacher Strasse 89]", "[Mannerheimintie 10]", "[Rua do Arenque 1634]",
        "ship to [3770 N Shoreline Blvd, Los Altos, CA 94024].",
    ],
    "POSTAL_CODE": [
        "zip [90210]", "ZIP: [3520]", "my zip code is [35350]", "postal code [K1A 0B1]", "postcode: [SW1A 1AA]",
        "Postcode [EC1A 1BB].", "PLZ [10115]", "zip code [75534-030]", "Zip Code:[94110]", "postal code is [7412 SL]",
    ],
    "PERSON": [
        "Mr. [Pálffy] is here", "ask Dr [Anna Keller]", "My name is [Rubija]", "my name's [John O'Neill].",
        "Name: [Toshimi Arata]\nPhone", "Dear [Anna],\nthanks", "Best regards,\n[Jan de Vries]\n", "Mrs. [Labrie], see",
        "her maiden name is [Clark]", "Please call me [Ishmael].", "Prof. [J. R. Hartley] said", "Mrs [Bennet]'s idea",
        "I'm [Naomi Ryan], originally", "I am [Sam Gamgee].", "Ich heiße [Uwe]",
    ],
    "AGE": ["a [79] year old", "[38]-year-old", "i'm [31] y/o.", "just turned [60]", "at the age of [61],",
            "aged [44],", "Age: [7].", "[5] years old", "when he was [78].", "turning [30]!"],
    "URL": ["see [https://example.com/a?b=c] now",
            "[http://a.b/c].", "([www.firma.de/x])", "<[https://t.co]>", "[ftp://host/file.txt],"],
    "DATE": ["on [2020-06-20]", "[12/1/1981]", "since [3 May 1999]", "[January 5, 1950]", "[1.2.2003]"],
}  # fmt: skip

NEGATIVE = {
    "EMAIL": [
        "@app.route('/x')", "icon@2x.png", "meet @ noon", "a@b", "user@localhost", "pkg@1.2.3", "x @ y.com",
        "look@logo.svg", "@anna on twitter", "3@5.5", "pay at dot com", "cat (at) home",
    ],
    "PHONE": [
        "$1,234,567", "in 1990-2005", "2020-06-20", "2000-04-16 11:34:35", "1000000 people", "ISBN 978-3-16-148410-0",
        "12345678901234567890", "x = 4155551234", "the number 1234567", "1 + 2 + 3 + 4 + 5 + 6 + 7", "1,000 200 300 40",
        "phones cost 1000/200 each", "order no. 555-1234-99", "page 12-15 and 23-48", "0.1234567", "lat 52.5200066",
        "call 911", "id 867-5309-11", "between 100 200 3000 items", "#5551234",
    ],
    "CREDIT_CARD": [
        "4539578763621487", "1234567890123456", "0000000000000000", "4539 5787 6362 148", "45395787636214861",
        "3.4539578763621486", "$4539578763621486", "id4539578763621486", "order 630427373398", "1111 1111 1111 1111",
        "timestamp 1609459200000", "9999999999999995",
    ],
    "IBAN": [
        "DE89370400440532013001", "DE8937040044053201300", "XX89370400440532013000", "GB82 WEST 1234 5698 7654 33",
        "AB12 CDEF", "version DE89", "DE00370400440532013000", "FR14 2004", "xDE89370400440532013000",
        "US12345678901234",
    ],
    "IP": [
        "version 2.0.0.1", "v10.2.33.4", "1.2.3.4", "section 3.1.4.1", "300.1.2.3", "127.0.0.1", "0.0.0.0",
        "255.255.255.0", "1.2.3.4.5", "12:34:56", "std::vector", "a::b", "::1", "84.12.33", "84.12.33.9.7",
    ],
    "US_SSN": [
        "000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "123-45-67890", "1123-45-6789",
        "123456789", "123 45 6789", "12-345-6789", "$123-45-6789", "123-456-789",
    ],
    "RECORD_NUMBER": [
        "number 12345", "the account was closed in 2019", "no. 5 is alive", "a case of 12 bottles",
        "order number 12345", "patient in room 1204", "case number 7", "policy of 1999", "record high of 1234",
        "room no. 12345",
        "company registration number is 2454806", "student number one", "claim 100 % back",
    ],
    "DATE_OF_BIRTH": [
        "on 12/03/1985 we met", "founded 1985-03-12", "born on 31/31/1985", "born in 1985", "DOB: 1885-03-12",
        "born on 12/03/2085", "born 12.5.3", "the birth of 2 ideas, then 12/03/85 parts of much else later",
        "due 3 May 1999", "born to run 99/99/1999",
    ],
    "ADDRESS": [
        "2 years instead of 5", "the 1929 Wall Street crash", "120\nDon't Drive", "his new apartment 1200",
        "Base address:0x100", "5 Apples way too many", "I have 3 dogs", "IP address: 10.0.0.1 x",
        "chapter 12 Section 3", "He ran 10 St", "in 2 ways", "at 5 Elm", "room 12", "Unit 5 test", "Day 1",
    ],
    "POSTAL_CODE": ["90210", "zip file 12345", "post 12345", "zip: ab", "postal worker 1234", "zipped 94110",
                    "code 12345", "postpone 1234", "ZIP", "zip code is unknown"],
    "PERSON": ["the doctor is in", "My name is unknown", "Dear Sir,", "Dear customer,", "Hello World", "MR scan",
               "Miss you", "name: value", "what's in a name? Rose", "Regards\nto all", "call me later",
               "I'm Born again", "I am New here", "Hi there,"],
    "AGE": ["5 years", "page 12", "$30 year old", "turned 360 degrees", "1.5 year old", "aged cheese 12 months"],
    "URL": ["example.com", "http://", "www", "a://b", "https is good"],
    "DATE": ["1/2", "99/99/1999", "3.41.59", "2020-13-45", "10-20-30-40"],
}  # fmt: skip


def found(kind: str, text: str) -> list[str]:
    return [text[s.start : s.end] for s in Recogniser([kind]).spans(text)]


def marked(text: str) -> tuple[str, list[str]]:
    """The text without the marks around what is to be found; an inner [at] stays."""
    wanted = re.findall(r"\[((?:[^\[\]]|\[at\])*)\]", text)
    plain = text
    for value in wanted:
        plain = plain.replace(f"[{value}]", value, 1)
    return plain, wanted


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in POSITIVE.items() for t in texts])
def test_finds(kind: str, text: str) -> None:
    plain, wanted = marked(text)
    assert wanted
    assert found(kind, plain) == wanted


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in NEGATIVE.items() for t in texts])
def test_leaves_alone(kind: str, text: str) -> None:
    assert found(kind, text) == []


def test_every_kind_that_is_replaced_by_default_has_ten_of_each() -> None:
    from tuneforge.preparation.personal.kinds import DEFAULT

    assert {p.kind for p in CORE} == set(POSITIVE)
    assert min(len(POSITIVE[k]) for k in DEFAULT) >= 10
    assert min(len(NEGATIVE[k]) for k in DEFAULT) >= 10


def test_overlaps_become_one_of_the_longest_then_first_kind() -> None:
    assert resolved([Span(0, 5, "PHONE"), Span(3, 20, "ADDRESS"), Span(25, 30, "URL")]) == [
        Span(0, 20, "ADDRESS"),
        Span(25, 30, "URL"),
    ]
    assert resolved([Span(0, 9, "PHONE"), Span(0, 9, "US_SSN")]) == [Span(0, 9, "US_SSN")]
    assert resolved([Span(0, 9, "TICKET"), Span(0, 9, "PHONE")]) == [Span(0, 9, "PHONE")]
    assert resolved([Span(0, 4, "URL"), Span(4, 8, "URL")]) == [Span(0, 4, "URL"), Span(4, 8, "URL")]


def test_what_patterns_found_stands_firm_beside_what_a_model_says() -> None:
    text = "call 415-867-5309, Anna"
    phone, person = Span(5, 17, "PHONE"), Span(0, 23, "PERSON")
    assert beside([phone], [person], text) == [Span(0, 5, "PERSON"), phone, Span(17, 23, "PERSON")]
    assert beside([phone], [Span(3, 18, "URL")], text) == [Span(3, 5, "URL"), phone]
    assert beside([phone], [Span(4, 18, "URL")], text) == [phone]
    assert beside([phone], [Span(8, 11, "DATE")], text) == [phone]
    assert beside([], [person], text) == [person]


HARD = ["a" * 20_000, "A" * 20_000, "1" * 20_000, "1 " * 10_000, "1-" * 10_000, "Aa " * 7_000, "a@" * 10_000,
        "a." * 10_000, ":" * 20_000, "(" * 20_000, "Rue " * 5_000, "Mr. " * 5_000, "address: " * 2_000, "a:1" * 7_000,
        "\n" * 20_000,
        "name is " * 2_500, "born 1/" * 3_000, "x@" + "a." * 9_000, "1 Aa" * 5_000, "0 de la " * 2_500]  # fmt: skip


@pytest.mark.parametrize("text", HARD, ids=lambda t: repr(t[:8]))
def test_no_pattern_of_ours_needs_its_limit(text: str) -> None:
    """Texts made to be hard are read without one of them being stopped."""
    assert isinstance(Recogniser().spans(text), list)


def test_a_pattern_that_explodes_is_stopped() -> None:
    slow = Recogniser([], [Pattern("SLOW", r"(?:a|aa)+$")])
    with pytest.raises(Unfinished, match="SLOW"):
        slow.spans("a" * 60 + "b")
