"""Varied prose without meaning, made from a seed: what no check should warn of."""

from __future__ import annotations

import random


def _listed(text: str) -> list[str]:
    return text.split()


WORDS = _listed("""
    apple river stone window market letter garden winter engine paper bridge coffee doctor island mountain painter
    captain village teacher forest station harbor kitchen mirror number office pencil question rabbit shadow ticket
    umbrella valley wagon yellow zebra basket candle desert eagle feather guitar hammer insect jacket kettle ladder
    magnet needle orange pocket quarter ribbon saddle tunnel velvet whistle anchor barrel copper dragon
""")
VERBS = _listed("moves carries finds builds paints counts follows opens leaves brings turns holds")


def sentence(seed: int, length: int = 9) -> str:
    draw = random.Random(seed)
    words = [draw.choice(WORDS) for _ in range(length)]
    words[length // 3] = draw.choice(VERBS)
    return " ".join(words).capitalize() + "."


def paragraph(seed: int, sentences: int = 5, length: int = 9) -> str:
    return " ".join(sentence(seed * 1000 + n, length + n % 3) for n in range(sentences))


ASKED = ("Why", "How", "When", "Where", "Who says that", "What if", "In which way", "Since when")


def question(seed: int) -> str:
    return f"{ASKED[seed % 8]} does {sentence(seed, 6)[:-1].lower()}?"
