"""The same question in other words: by rules, or by a teacher."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from tuneforge.components import Context
from tuneforge.evaluation.behaviour.asking import asked
from tuneforge.rows import Request, Row

SHORT = {
    "what is": "what's", "who is": "who's", "where is": "where's", "how is": "how's", "it is": "it's",
    "do not": "don't", "does not": "doesn't", "did not": "didn't", "is not": "isn't", "are not": "aren't",
    "cannot": "can't", "i am": "i'm", "i have": "i've", "we are": "we're", "you are": "you're",
}  # fmt: skip
"""Words written out: their contraction."""
TEMPERATURE = 0.7
"""At which a teacher finds several wordings of one question."""


def by_rules(question: str, count: int) -> list[str]:
    """Up to `count` other forms of a question: politeness, a heading, a contraction, its last mark, thanks.

    None changes a word's meaning, a number or a name; what stands on several lines, as code, keeps its words.
    """
    head = "Question" if question.rstrip().endswith("?") else "Task"
    apart = "\n\n" if "\n" in question.strip() else " "
    forms = [
        f"Please help me with this.{apart}{question}",
        f"{head}:{apart}{question}",
        question if "\n" in question.strip() else contracted(question),
        re.sub(r"[.?!]+(\s*)$", r"\1", question),
        f"{question}{apart}Thank you.",
    ]
    return [form for form in dict.fromkeys(forms) if form != question][:count]


def contracted(text: str) -> str:
    """The first contraction written out, or the first words that have one contracted."""
    forms = SHORT | {short: long for long, short in SHORT.items()}
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(forms, key=len, reverse=True)))})\b", re.IGNORECASE)

    def other(found: re.Match[str]) -> str:
        made = forms[found.group().lower()]
        made = re.sub(r"\bi\b", "I", made)
        return made[0].upper() + made[1:] if found.group()[0].isupper() else made

    return pattern.sub(other, text, count=1)


def by_teacher(rows: Sequence[Row], count: int, teacher: str, context: Context) -> tuple[list[list[str]], int]:
    """Up to `count` wordings per row, in the order of asking, and how many were of no use.

    Of no use is what failed, is the question itself or another wording, or lacks one of its numbers.
    """
    places = {id(row): i for i, row in enumerate(rows)}
    requests = [_request(row, context.seed + n) for row in rows for n in range(count)]
    said: dict[tuple[int, int], str] = {}
    for request, answer in context.teacher(teacher).complete(_shown(requests, context), context):
        if not answer.error:
            said[places[id(request.row)], request.seed] = answer.text.strip()
    found: list[list[str]] = []
    for i, row in enumerate(rows):
        wordings = [said.get((i, context.seed + n), "") for n in range(count)]
        found.append([text for text in dict.fromkeys(wordings) if _of_use(text, asked(row.columns))])
    return found, len(requests) - sum(map(len, found))


def _shown(requests: Sequence[Request], context: Context) -> Iterator[Request]:
    yield from context.progress(requests, "asking for other words")


def _request(row: Row, seed: int) -> Request:
    text = (
        "Say this in other words. Keep its meaning, every number and name, and the form of answer that it asks for."
        f" Write the new wording alone.\n\n{asked(row.columns)}"
    )
    return Request([{"role": "user", "content": text}], temperature=TEMPERATURE, seed=seed, row=row)


def _of_use(text: str, question: str) -> bool:
    numbers = re.findall(r"\d+(?:[.,]\d+)*", question)
    return bool(text) and form(text) != form(question) and all(number in text for number in numbers)


def form(text: str) -> str:
    """Without what does not tell answers apart: case, width of letters, white space, marks around it."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip(" .,;:!?\"'`*()[]")
