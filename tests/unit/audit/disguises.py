"""A row as it may stand in another data set: five disguises in which a test row gets into training."""

from __future__ import annotations

import random
from dataclasses import replace

from tuneforge.audit.leaks import Kind
from tuneforge.rows import Row


def said(question: str, answer: str, *before: str) -> list[dict[str, str]]:
    texts = [*before, question, answer]
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


def layout(row: Row) -> Row:
    """Case and white space."""
    return replace(row, columns={k: v.upper().replace(" ", "\n ") for k, v in row.columns.items()})


def signs(row: Row) -> Row:
    """Punctuation and Unicode: full stops gone, curly quotes, full-width letters."""

    def change(text: str) -> str:
        wide = str.maketrans({c: chr(ord(c) + 0xFEE0) for c in "etaoin"})
        return text.replace(". ", " ").replace("'", "\u2019").replace('"', "\u201c").translate(wide) + " !"

    return replace(row, columns={k: change(v) for k, v in row.columns.items()})


def document(row: Row) -> Row:
    """A longer conversation."""
    return replace(row, columns={"messages": said(*row.columns.values(), "Hello. I have a question.", "Go on.")})


def reworded(row: Row) -> Row:
    """One word in seven replaced by another, numbers not."""
    draw = random.Random(row.line)

    def change(text: str) -> str:
        words = text.split(" ")
        plain = [at for at, word in enumerate(words) if word.isalpha()]
        for at in draw.sample(plain, min(len(plain), len(words) // 7)):
            words[at] = draw.choice(("certain", "perhaps", "usual", "another", "quickly"))
        return " ".join(words)

    return replace(row, columns={k: change(v) for k, v in row.columns.items()})


def template(row: Row) -> Row:
    """Another template in another column."""
    return replace(
        row, columns={"text": f"### Question\n{row.columns['prompt']}\n\n### Answer\n{row.columns['completion']}"}
    )


DISGUISES = {
    layout: Kind.row,
    signs: Kind.folded,
    document: Kind.contained,
    reworded: Kind.near,
    template: Kind.contained,
}
"""How each is to be found."""
