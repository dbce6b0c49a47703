"""Dates as ISO 8601 writes them, where only one day can be meant."""

from __future__ import annotations

import re
from datetime import date

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
MONTHS = {name: number for number, name in enumerate(_MONTHS, 1)}
MONTHS |= {name[:3]: number for name, number in MONTHS.items()} | {"sept": 9}
"""English names of months, whole and short: number."""

_MONTH = rf"(?:{'|'.join(sorted(MONTHS, key=len, reverse=True))})\b\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_END = r"(?![\w]|[/.-]\d)"
_DATE = re.compile(
    r"(?<![\w/.-])(?:"
    rf"(?P<d1>{_DAY})\s(?:of\s)?(?P<m1>{_MONTH}),?\s(?P<y1>[12]\d{{3}})"
    rf"|(?P<m2>{_MONTH})\s(?P<d2>{_DAY}),?\s(?P<y2>[12]\d{{3}})"
    r"|(?P<y3>[12]\d{3})(?P<s3>[/.])(?P<m3>\d{1,2})(?P=s3)(?P<d3>\d{1,2})"
    r"|(?P<a>\d{1,2})(?P<s4>[/.-])(?P<b>\d{1,2})(?P=s4)(?P<y4>[12]\d{3})"
    rf"){_END}",
    re.IGNORECASE,
)


class Dates:
    """Writes dates as `2021-03-05`; counts what it left because day and month cannot be told apart."""

    def __init__(self) -> None:
        self.ambiguous = 0

    def iso(self, text: str) -> str:
        """`5 March 2021`, `March 5th, 2021`, `2021/03/05`, `25/12/2020` and `12/25/2020` become ISO dates.

        `03/04/2020` may be March or April and stays. What is no day of the calendar stays too.
        """
        return _DATE.sub(self._written, text)

    def _written(self, found: re.Match[str]) -> str:
        if found["a"] is not None:
            return self._two_numbers(found)
        number = next(n for n in "123" if found[f"y{n}"] is not None)
        month = found[f"m{number}"].lower().rstrip(".")
        day = re.sub(r"\D", "", found[f"d{number}"])
        return _iso(found[f"y{number}"], MONTHS.get(month) or month, day) or found[0]

    def _two_numbers(self, found: re.Match[str]) -> str:
        first, second, year = found["a"], found["b"], found["y4"]
        days = {_iso(year, second, first), _iso(year, first, second)} - {""}
        self.ambiguous += len(days) > 1
        return days.pop() if len(days) == 1 else found[0]


def _iso(year: str, month: str | int, day: str) -> str:
    """The date, or nothing where the calendar has none."""
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return ""
