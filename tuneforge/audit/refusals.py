"""Refusals and edge cases: whether instruction data shows when to decline, to ask back, and what to do at the edges."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.formats import kind
from tuneforge.audit.reading import Exchange, shown
from tuneforge.audit.subject import Subject
from tuneforge.evaluation.behaviour.refusals import HEAD, plain, refuses
from tuneforge.evaluation.statistics import wilson

NAME = "refusals"
UNSURE = re.compile(
    "|".join(
        (
            r"\b(?:i'm|i am) not sure|\bi do(?:n't| not) know|\bit(?:'s| is) (?:not clear|unclear)",
            r"\bnot enough information|\bcan(?:'t|not) be (?:answered|determined)|\bdoes not (?:say|mention|specify)",
            r"\bc(?:an|ould) you (?:please )?(?:clarify|be more specific|tell me more|provide more)|\bwhat do you mean",
        )
    )
)
"""How answers say that a question cannot be answered, or ask back."""
HARM = re.compile(
    "|".join(
        (
            r"\bkill (?:my|him|her|some|a |the )|\bpoison (?:my|some|a |the )|\bhurt (?:my|some)|\brob (?:a|my|some)",
            r"\b(?:make|build|buy) (?:a |an )?(?:bombs?|explosives?|weapons?|guns?)\b|\bmeth\b|\bcocaine|\bheroin\b",
            r"\b(?:murder|suicide|self.harm|steal|shoplift|counterfeit|launder|stalk|blackmail|tortur|rape|kidnap|arson)",
            r"\bhack(?:ing)? (?:into|my|some|a )|\bbreak into|\bcredit card (?:info|number)|\bracial slur",
            r"\bget away with|\bcommit (?:a )?(?:crime|fraud)|\bphishing|\bransomware|\bmalware|\bgenocide",
        )
    )
)
ASKING = re.compile(
    "|".join(
        (
            r"\bhow (?:can|could|do|should|would|to)\b|\bwhere (?:can|could|do) i\b|\bshould i\b",
            r"\b(?:best|easy|easiest) way",
            r"\b(?:i|we) (?:want|need|am going|plan|would like) to\b|\b(?:tell|help|teach|give) me\b",
        )
    )
)
WORDS = 60
"""A prompt of at most as many words that has both may ask for harm: hints, not a judgement. In a longer one, somebody
may steal in a story or a sum."""
FEW = 200
"""Answers below which a set is too small to ask what it covers."""
OPEN = 0.5
"""Share of answers in sentences from which a set is open instruction data; below, it is a task with a format."""
MANY = 0.25
"""Share of refusals from which a set teaches to decline. Measured: hh_rlhf, made to be harmless, 12 %, toolcall_demo
5 %, the other instruction sets 2 % at most."""
ASKED = 20
"""Requests for harm from which it is warned where most are answered."""
LONG, SHORT = 1000, 2
"""Words of prompts at the edges."""


def check(subject: Subject) -> Iterator[Finding]:
    """The share of refusals and of answers that ask back, how harmful requests are answered, prompts at the edges."""
    found = subject.sampled_exchanges
    prose = [one for one in found if one.answer.count(" ") >= 3 and kind(one.answer) in ("prose", "list", "markdown")]
    if len(found) < FEW or len(prose) < OPEN * len(found):
        yield Finding(
            check=NAME, severity=Severity.ok, text="not open instruction data: answers are few or have a format"
        )
        return
    declined = {id(one): refuses(one.answer) for one in found}
    general = subject.run.strategy.record != "completion"
    yield _shares(found, [one for one in found if declined[id(one)]], general, subject.sampled)
    harm = [one for one in found if asks_harm(one.asked)]
    yield _harmful(harm, [one for one in harm if not declined[id(one)]], subject.sampled)
    yield _edges(found, subject.sampled)


def asks_harm(prompt: str) -> bool:
    """Whether a short prompt has words of a harmful request, and asks for it."""
    text = plain(prompt)
    return len(text.split()) <= WORDS and HARM.search(text) is not None and ASKING.search(text) is not None


def _shares(found: Sequence[Exchange], declined: Sequence[Exchange], general: bool, sampled: str) -> Finding:
    unsure = sum(UNSURE.search(plain(one.answer[:HEAD])) is not None for one in found)
    share, low, high = wilson(len(declined), len(found))
    many, none = share >= MANY, not declined and not unsure
    text = f"{len(declined):,} of {len(found):,} answers{sampled} decline ({share:.1%} [{low:.1%}, {high:.1%}])"
    text += f", {unsure:,} do not know or ask back"
    if none:
        text = f"none of {len(found):,} answers{sampled} declines, does not know or asks back"
    actions = {
        many: "The model will decline as often: leave refusals of harmless requests out, or weigh them down.",
        none: "A model that never sees it answers everything: add rows that decline, ask back or do not know, and a set"
        " with `test.NAME.role=safety`.",
    }
    return Finding(
        check=NAME,
        severity=Severity.warning if many or (none and general) else Severity.info if none else Severity.ok,
        text=text,
        count=len(declined),
        of=len(found),
        action=actions.get(True, ""),
        rows=shown((one.row, f"{one.asked[:60]} → {one.answer}") for one in declined),
        numbers={"refusals": round(share, 4), "unsure": round(unsure / len(found), 4)},
    )


def _harmful(harm: Sequence[Exchange], answered: Sequence[Exchange], sampled: str) -> Finding:
    if not harm:
        return Finding(check=NAME, severity=Severity.info, text=f"no prompt{sampled} asks for harm in so many words")
    share, low, high = wilson(len(answered), len(harm))
    most = len(harm) >= ASKED and low > 0.5
    return Finding(
        check=NAME,
        severity=Severity.warning if most else Severity.info,
        text=f"{len(harm):,} prompts{sampled} ask for harm in so many words; {len(answered):,} of the answers to them"
        f" have no words of refusal ({share:.0%} [{low:.0%}, {high:.0%}])",
        count=len(answered),
        of=len(harm),
        action="Read them: what is answered here, the model learns to answer. Leave out or rewrite what it should not."
        if answered
        else "",
        rows=shown((one.row, f"{one.asked[:80]} → {one.answer}") for one in answered),
    )


def _edges(found: Sequence[Exchange], sampled: str) -> Finding:
    lengths = [(one, len(one.asked.split())) for one in found]
    short = [one for one, length in lengths if length <= SHORT]
    long = [one for one, length in lengths if length >= LONG]
    text = f"prompts at the edges{sampled}: {len(short):,} of up to {SHORT} words, {len(long):,} of {LONG:,} and more"
    rows = shown((one.row, f"{one.asked[:80]} → {one.answer}") for one in [*short, *long])
    return Finding(
        check=NAME, severity=Severity.info, text=text, count=len(short) + len(long), of=len(found), rows=rows
    )
