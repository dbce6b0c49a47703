"""Lexical diversity: MTLD, distinct-n and self-BLEU, and how many texts begin alike."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.lexical import distinct, mtld, self_bleu
from tuneforge.audit.reading import document, shown, words
from tuneforge.audit.subject import Subject
from tuneforge.rows import Row

NAME = "diversity"
MTLD_WORDS = 50_000
"""Words that MTLD is computed over."""
DISTINCT_WORDS = 10_000
"""Words that distinct-n is computed over: it falls with the number of words, so it is always the same."""
TEXTS = 100
"""Texts of self-BLEU."""
SHORT = 5
"""Median words below which texts are labels, numbers or fields, whose variety says nothing."""
ALIKE = 0.5
"""Self-BLEU from which answers and documents come from few patterns. Measured: prose of people and models .05 to .15
(c4_demo .05, gpteacher_roleplay .07, alpaca_demo .08, hh_rlhf .14), TinyStories .27, Cypher queries .43; the generated
dialogues of sharegpt_identity .998."""
ALIKE_PROMPTS = 0.8
"""The same for prompts, which may share a context or a task: tatqa .59, toolcall_demo .45, helpdesk .42."""
OPENING = 3
"""Words of an opening."""
HEAD = 200
"""Characters of a text in which its opening stands."""
SAME = {"answers": 0.25, "prompts": 0.5, "documents": 0.5}
"""Share of texts with one opening from which it is warned. Measured for answers: 5 % in toolcall_demo, 4 % at most in
six others, 25 % in sharegpt_identity; for documents 1 % in c4_demo, 55 % in TinyStories ("once upon a")."""
PROSE = "52 to 146"
"""MTLD of real prose: TinyStories 52, hh_rlhf 86, c4_demo 94, gpteacher_roleplay 146; steps of arithmetic (gsm8k) 14.
"""

Texts = Sequence[tuple[Row, str]]


def check(subject: Subject) -> Iterator[Finding]:
    """Each kind of text: how varied its words are, how alike its texts, how many begin with the same three words."""
    sample = subject.sampled_exchanges
    texts = {
        "prompts": [(one.row, one.asked) for one in sample],
        "answers": [(one.row, one.answer) for one in sample],
        "documents": [(row, text) for row in subject.sample if (text := document(row.columns)) is not None],
    }
    found = False
    for what, pairs in texts.items():
        if pairs and median(len(text.split()) for _, text in pairs) >= SHORT:
            found = True
            random.Random(subject.run.seed).shuffle(pairs)
            yield _measured(what, pairs)
            yield _openings(what, pairs, subject.sampled)
    if not found:
        yield Finding(
            check=NAME, severity=Severity.ok, text="no texts of five words and more, whose variety would tell"
        )


def _measured(what: str, texts: Texts) -> Finding:
    flat: list[str] = []
    drawn: list[list[str]] = []
    for _, text in texts:
        one = words(text)
        flat += one
        if len(one) >= SHORT and len(drawn) < TEXTS:
            drawn.append(one)
        if len(flat) >= MTLD_WORDS and len(drawn) == TEXTS:
            break
    lexical, alike = mtld(flat[:MTLD_WORDS]), self_bleu(drawn)
    few = alike >= (ALIKE_PROMPTS if what == "prompts" else ALIKE) and len(drawn) >= TEXTS // 2
    numbers = {
        "mtld": round(lexical, 1) if math.isfinite(lexical) else -1.0,
        **{f"distinct_{n}": round(distinct(flat[:DISTINCT_WORDS], n), 4) for n in (1, 2)},
        "self_bleu": round(alike, 4),
    }
    return Finding(
        check=NAME,
        severity=Severity.warning if few else Severity.ok,
        text=f"{what}{' come from few patterns' if few else ''}: MTLD {lexical:,.0f} (real prose {PROSE}),"
        f" self-BLEU {alike:.2f} among {len(drawn)} (prose .05 to .15, templates {ALIKE:g} and more)",
        count=len(drawn) if few else 0,
        of=len(drawn),
        action="A model trained on few patterns learns the patterns: add rows of other origin, remove near-duplicates,"
        " or lower the weight of this source (`data.NAME.weight=0.5`)."
        if few
        else "",
        rows=shown(texts[:5]) if few else (),
        numbers=numbers,
    )


def _openings(what: str, texts: Texts, sampled: str) -> Finding:
    """The three words that most texts begin with; a text of fewer than five has no opening."""
    long = [(row, text, tuple(one[:OPENING])) for row, text in texts if len(one := words(text[:HEAD])) >= SHORT]
    if not long:
        return Finding(check=NAME, severity=Severity.ok, text=f"{what} are too short to have an opening", of=len(texts))
    counts = Counter(opening for _, _, opening in long)
    common, times = counts.most_common(1)[0]
    same = times >= SAME[what] * len(long) and len(long) >= TEXTS // 2
    return Finding(
        check=NAME,
        severity=Severity.warning if same else Severity.ok,
        text=f'{times:,} of {len(long):,} {what}{sampled} begin "{" ".join(common)}" ({times / len(long):.1%})',
        count=times if same else 0,
        of=len(long),
        action="The model will begin so too: vary how they begin, where that is not the task itself." if same else "",
        rows=shown((row, text) for row, text, opening in long if opening == common) if same else (),
        bars=[(" ".join(opening), count) for opening, count in counts.most_common(8)],
    )
