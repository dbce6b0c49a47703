"""The form in which SQuAD compares answers."""

from __future__ import annotations

import re
import string

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Lower case, without ASCII punctuation, without the English articles, one space between words.

    The normalisation of SQuAD's evaluation script (Rajpurkar et al., arXiv:1606.05250). It takes every sign away:
    `-5` becomes `5` and `1.5` becomes `15`.
    """
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())
