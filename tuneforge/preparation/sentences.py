"""A text in sentences, and which of them may change places."""

from __future__ import annotations

import random
import re
from itertools import pairwise

from tuneforge.preparation import meaning

ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|cf|approx|No|Fig|Inc|Ltd|Co|Corp|Jan|Feb|Mar|Apr|Jun|Jul|Aug"
    r"|Sept?|Oct|Nov|Dec|Ave|Mt|Gen|Col|Capt|Sgt|Rev|Hon|[A-Z])|\b[A-Z]\.[A-Z])\.\Z"
)
"""What ends with a full stop that ends no sentence."""
END = re.compile(r"[.!?]+[)\]]*(\s+)(?=[(\[]?[^\W\d_a-z])")
UNSUITED = re.compile(
    r"^\s*(?:[-*+•>#|=]|\d+[.)]|[A-Za-z][.)]\s|\w+:\s*$)|[\"\N{LEFT DOUBLE QUOTATION MARK}]"
    r"|\b(?:step \d|first|second|finally|then|next|afterwards|later)\b",
    re.MULTILINE | re.IGNORECASE,
)
"""A line of a list, a heading, a quotation, a table or a form; somebody speaks; or the order itself is told."""
STORY = re.compile(
    r"\b(?:once upon a time|one (?:sunny )?day|the next (?:day|morning)|that (?:day|night)|in the end)\b", re.I
)
"""Words of a text that tells what happened after what."""
LEANS = re.compile(
    r"(?:he|she|it|they|him|them|his|her|hers|its|their|theirs|this|that|these|those|such|both|former|latter|remaining"
    r"|rest|other|others|another|else|same|each|also|too|however|therefore|thus|hence|moreover|furthermore|additionally"
    r"|meanwhile|instead|otherwise|consequently|nevertheless|nonetheless|similarly|likewise|rather|indeed|again|still"
    r"|yet|there|here|so)"
)
STARTS = re.compile(r"(?:and|but|or|because|yes|no|now|after|before|when|while|since|until|once|as|to|for|in|on|if)")
"""How a sentence leans on the one before it: by such a word anywhere, or by one at its beginning."""


def split(text: str) -> tuple[list[str], list[str]]:
    """The sentences of a paragraph, and the white space after each but the last."""
    found, gaps, at = [], [], 0
    for match in END.finditer(text):
        sentence = text[at : match.start(1)]
        if ABBREVIATION.search(sentence):
            continue
        found.append(sentence)
        gaps.append(match[1])
        at = match.end()
    return [*found, text[at:]], gaps


def reordered(text: str, draw: random.Random) -> str:
    """The text with sentences of its plain paragraphs in another order.

    A sentence that leans on the one before stays behind it; the first of a paragraph stays first, questions at its end
    and what ends with no full stop stay last. Lists, tables, code, dialogue, stories, and paragraphs that tell an order
    stay as they are.
    """
    if STORY.search(text):
        return text
    made, at = [], 0
    for start, end in meaning.free(text):
        parts = re.split(r"(\n+)", text[start:end])
        made += [text[at:start], *(part if i % 2 else _paragraph(part, draw) for i, part in enumerate(parts))]
        at = end
    return "".join([*made, text[at:]])


def _paragraph(text: str, draw: random.Random) -> str:
    body = text.strip()
    sentences, gaps = split(body)
    if len(sentences) < 3 or UNSUITED.search(text):
        return text
    units = [[sentences[0]]]
    for before, gap, sentence in zip(sentences[:-1], gaps, sentences[1:], strict=True):
        if _leans(sentence, before):
            units[-1] += [gap, sentence]
        else:
            units.append([sentence])
    last = len(units)
    while last and not units[last - 1][-1].rstrip(")]").endswith((".", "!")):
        last -= 1
    order = list(range(1, last))
    if len(order) < 2:
        return text
    while order == sorted(order):
        draw.shuffle(order)
    joined = " ".join("".join(units[i]) for i in (0, *order, *range(last, len(units))))
    return text.replace(body, joined, 1)


def _leans(sentence: str, before: str) -> bool:
    """Whether the sentence needs the one before: by a pronoun, a connective, or `the` for what that one brought up."""
    found = meaning.words(sentence)
    if not found or STARTS.fullmatch(found[0]) or any(LEANS.fullmatch(word) for word in found):
        return True
    brought_up = set(meaning.words(before)) - meaning.FUNCTION
    return any(first == "the" and second in brought_up | meaning.AMOUNTS for first, second in pairwise(found))


def pieces(text: str) -> list[tuple[str, bool]]:
    """The text cut into (piece, whether it is a sentence of prose); joined they are the text."""
    found: list[tuple[str, bool]] = []
    at = 0
    for start, end in meaning.free(text):
        found.append((text[at:start], False))
        for number, line in enumerate(re.split(r"(\n+)", text[start:end])):
            sentences, gaps = split(line)
            for sentence, gap in zip(sentences, [*gaps, ""], strict=True):
                inner = sentence.strip()
                before, _, after = sentence.partition(inner) if inner else (sentence, "", "")
                found += [(before, False), (inner, not number % 2 and bool(meaning.WORD.search(inner)))]
                found += [(after + gap, False)]
        at = end
    return [*found, (text[at:], False)]
