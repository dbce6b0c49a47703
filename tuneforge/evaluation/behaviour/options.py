"""The options of a multiple-choice question, in the prompt or in `choices`, in another order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from tuneforge.conversation import answer_text, right_choice
from tuneforge.evaluation.behaviour.asking import asked, asking
from tuneforge.rows import Row

LINE = re.compile(r"^[ \t]*[(\[]?([A-Za-z])[)\].:][ \t]*(\S.*)$", re.MULTILINE)
"""`(A) text`, `A. text`, `A) text`, `a: text`, alone on its line."""
LETTER = re.compile(r"^\W?([A-Za-z])(?:\W.*)?$", re.DOTALL)
"""An answer that names an option: `B`, `(B)`, `B. text`."""


def option_lines(text: str) -> list[tuple[int, int]]:
    """Where the lines of options stand."""
    return [match.span() for match in _options(text)]


def _options(text: str) -> list[re.Match[str]]:
    """The last run of lines A, B, C, … of two at least."""
    run: list[re.Match[str]] = []
    best: list[re.Match[str]] = []
    for match in LINE.finditer(text):
        if match[1].lower() == "a":
            run = [match]
        elif run and ord(match[1]) == ord(run[-1][1]) + 1:
            run.append(match)
        if len(run) > 1:
            best = run
    return best


def reordered(row: Row, random: Random) -> Row | None:
    """The row with its options in another order, and the letter or number of the right one moved with it.

    None where there are no options, where those of the prompt are not those of `choices`, or where the answer neither
    names nor is one.
    """
    question = asked(row.columns)
    lines, choices = _options(question), [str(one) for one in row.columns.get("choices") or ()]
    labelled = _options("\n".join(choices))
    labelled = labelled if len(labelled) == len(choices) else []
    texts = [match[2] for match in lines or labelled] or choices
    if len(texts) < 2 or (lines and choices and len(lines) != len(choices)):
        return None
    order = list(range(len(texts)))
    while order == sorted(order):
        random.shuffle(order)
    answer = _moved(row.columns, texts, order)
    if answer is None:
        return None
    for match, place in reversed(list(zip(lines, order, strict=False))):
        question = question[: match.start(2)] + texts[place] + question[match.end(2) :]
    columns = _answered(row.columns, answer)
    if choices:
        columns["choices"] = [row.columns["choices"][place] for place in order]
    if labelled:  # as in `A)21`: the letter is the place's, and stays there
        before = [match[0][: match.start(2) - match.start()] for match in labelled]
        columns["choices"] = [f"{letter}{labelled[place][2]}" for letter, place in zip(before, order, strict=True)]
    if row.columns.get("references"):
        columns["references"] = [_renamed(str(text), texts, order) or text for text in row.columns["references"]]
    return asking(row, question, **columns)


def _moved(columns: Mapping[str, Any], texts: Sequence[str], order: Sequence[int]) -> str | None:
    """The answer to the options in their new order; None where it is none of them."""
    answer = answer_text(columns)
    right = right_choice(columns)
    if right is not None and answer.strip().isdecimal() and answer.strip() not in texts:
        return str(order.index(right))
    return _renamed(answer, texts, order)


def _renamed(answer: str, texts: Sequence[str], order: Sequence[int]) -> str | None:
    """A text that is an option stays; its letter becomes that of its new place."""
    if answer.strip() in [text.strip() for text in texts]:
        return answer
    found = LETTER.match(answer.strip())
    place = ord(found[1].lower()) - ord("a") if found else len(texts)
    if found is None or place >= len(texts):
        return None
    letter = chr(ord("a") + order.index(place))
    at = answer.index(found[1])
    return answer[:at] + (letter.upper() if found[1].isupper() else letter) + answer[at + 1 :]


def _answered(columns: Mapping[str, Any], answer: str) -> dict[str, Any]:
    """The columns that hold the answer, with another one."""
    completion = columns.get("completion")
    if completion is not None:
        return {"completion": answer if isinstance(completion, str) else _ending(completion, answer)}
    return {"messages": _ending(columns["messages"], answer)}


def _ending(turns: Sequence[Mapping[str, Any]], answer: str) -> list[Mapping[str, Any]]:
    return [*turns[:-1], {**turns[-1], "content": answer}]
