"""What a judge said. Only a reply that is one JSON object of the demanded form counts; anything else is invalid."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tuneforge.evaluation.judging.questions import VERDICTS
from tuneforge.rows import Answer

FENCED = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


def verdict(answer: Answer) -> str | None:
    """A, B or tie; None for a reply that does not say exactly one of them in the demanded form."""
    said = _object(answer).get("verdict")
    return said if said in VERDICTS else None


def scores(answer: Answer, names: Sequence[str], scale: int) -> list[int] | None:
    """A whole number from 1 to `scale` for each criterion; None where one lacks, or is anything else."""
    said = _object(answer)
    found = [said.get(name) for name in names]
    good = all(isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= scale for one in found)
    return [int(one) for one in found if one is not None] if good else None


def _object(answer: Answer) -> Mapping[str, Any]:
    """The JSON object that the whole reply is, in a code fence or not; empty where it is none or says a key twice.

    What a model thinks aloud before is left out: from a `<think>` at the very start to the last `</think>`.
    """
    text = answer.text.strip()
    if answer.error:
        return {}
    if text.startswith("<think>"):
        text = text.rpartition("</think>")[2].strip()
    fenced = FENCED.fullmatch(text)
    try:
        read = json.loads(fenced[1] if fenced else text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > len({name for name, _ in pairs}):
        raise ValueError("a key stands twice")
    return dict(pairs)
