"""Register: whether answers speak in one voice, one language and as one person."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tuneforge.audit.finding import Finding, Severity, Shown
from tuneforge.audit.formats import kind
from tuneforge.audit.reading import Exchange, listed, shown, source, words
from tuneforge.audit.subject import Subject

NAME = "register"
FEW = 100
"""Prose answers below which shares say little."""
WORDS = 5
"""Words from which an answer has a voice."""
INFORMAL = listed(
    """
    gonna wanna gotta kinda sorta dunno lemme gimme ain't y'all lol lmao omg btw idk tbh imo haha hehe yeah yep nope
    yup dude bro buddy awesome hey thx pls plz ur u
    """
)
"""Words of chat; `!!`, emoji and smileys count too."""
SIGNS = re.compile(r"!!|[\U0001F300-\U0001FAFF]|(?<!\S)[:;]-?[)D(P](?!\S)")
FORMAL = listed(
    """
    furthermore moreover therefore thus hence consequently nevertheless notwithstanding accordingly whereas therein
    hereby regarding pursuant kindly sincerely
    """
)
"""Words of letters, papers and reports."""
MIXED = 0.1
"""Share of each of the two from which one source is said to speak in both. Measured, chat and reports: alpaca_demo 1
% and 9 %, hh_rlhf 2 % and 2 %, dpo_demo 2 % and 24 %, gsm8k 0 % and 17 %."""
APOSTROPHE = str.maketrans("\u2019", "'")
BOILERPLATE = {
    '"as an AI" or "as a language model"': (
        ("as a",),
        re.compile(r"\bas an? (?:ai\b|artificial intelligence|(?:large )?language model)"),
    ),
    "an apology": (
        ("apolog", "sorry"),
        re.compile(r"\b(?:i apologi[sz]e|i(?:'| a)m (?:very |so )?sorry|my apologies)\b"),
    ),
    'a courtesy such as "certainly!" or "feel free to"': (
        (
            "certainly",
            "absolutely",
            "of course",
            "sure",
            "great question",
            "happy to help",
            "i'd be",
            "i hope",
            "feel free to",
            "let me know if",
            "'re welcome",
        ),
        re.compile(
            r"\A(?:certainly|absolutely|of course|sure(?: thing)?|great question|happy to help)\b"
            r"|i'd be (?:happy|glad) to|i hope (?:this|that) helps|feel free to|let me know if|'re welcome\b"
        ),
    ),
}
"""Phrases that say nothing, in lower case: what a text holds that may have one, and the phrase."""
MUCH = (0.02, 0.15, 0.25)
"""Share of answers from which each is warned of. Measured: the first 2.0 % in alpaca_demo, 1.6 % in dpo_demo, .1 % in
hh_rlhf; apologies 7 % in hh_rlhf, 5 % in toolcall_demo, under 2 % elsewhere; courtesies 20 % in toolcall_demo, 11 % in
dpo_demo, under 3 % elsewhere."""
MODELS = r"ChatGPT|GPT-?[345]\w*|Claude|Bard|Gemini|LLaMA|Llama|Vicuna|Alpaca|Koala|Qwen"
MAKERS = (
    r"OpenAI|Anthropic|Google|Meta|Microsoft|LMSYS|Large Model Systems Organization|Stanford|Alibaba|DeepSeek|Mistral"
)
NAMED = re.compile(rf"{MODELS}|{MAKERS}")
PERSON = re.compile(
    r"\b(?:[Mm]y name is|I go by the name|[Yy]ou can call me|I(?:'|\u2019| a)m(?: an? [\w ]{0,30}(?:named|called))?)"
    rf" ({MODELS})\b|\b(?:I|I'm|I\u2019m)\b[^.!?\n]{{0,60}} (?:trained|developed|created|made|built)"
    rf" by (?:researchers (?:from|at) )?({MAKERS})\b"
)
"""How an answer says who it is or who made it, in the first person."""
SCRIPTS = {
    "Latin": re.compile(r"[A-Za-z\u00c0-\u024f]"),
    "Cyrillic": re.compile(r"[\u0400-\u04ff]"),
    "Greek": re.compile(r"[\u0370-\u03ff]"),
    "Arabic": re.compile(r"[\u0600-\u06ff]"),
    "Hebrew": re.compile(r"[\u0590-\u05ff]"),
    "Devanagari": re.compile(r"[\u0900-\u097f]"),
    "Thai": re.compile(r"[\u0e00-\u0e7f]"),
    "Japanese": re.compile(r"[\u3040-\u30ff]"),
    "Korean": re.compile(r"[\uac00-\ud7af]"),
    "Han": re.compile(r"[\u4e00-\u9fff]"),
}
COMMON = {
    "English": listed("the of and to is that it you for with are this have not be"),
    "German": listed("der die und das ist nicht ein eine mit für auf den sich auch dem"),
    "French": listed("le les des est une dans pour que qui pas vous sur avec être du"),
    "Spanish": listed("el los las una que para con por del está como más pero sus y"),
    "Italian": listed("il che di è per una sono non con del della gli anche come nel"),
    "Portuguese": listed("uma para não com que do da em mais como são dos você os ao"),
    "Dutch": listed("de het een van en dat niet op te zijn voor met ook maar wordt"),
}
"""Fifteen of the most common words of each language: the one of which a text holds most, at least four and twice the
next's, is its language."""
LANGUAGE_WORDS = 20
"""Words from which a text in Latin letters has a language."""
SENTENCES = ("prose", "list", "markdown")
"""Formats that have a voice."""


class Said(NamedTuple):
    """An answer in sentences, with its words."""

    one: Exchange
    used: set[str]


def check(subject: Subject) -> Iterator[Finding]:
    """Formal and informal answers in one source, boilerplate, who the model says it is, languages."""
    spoken = [one for one in subject.sampled_exchanges if one.answer.count(" ") >= WORDS]
    prose = [one for one in spoken if kind(one.answer) in SENTENCES]
    if len(prose) < FEW:
        yield Finding(check=NAME, severity=Severity.ok, text=f"{len(prose):,} answers in sentences: too few to compare")
        return
    said = [Said(one, set(words(one.answer))) for one in prose]
    by_source: dict[str, list[Said]] = defaultdict(list)
    for one in said:
        by_source[source(one.one.row)].append(one)
    for key, found in by_source.items():
        if len(found) >= FEW:
            yield _voice(key, found, subject.sampled)
    yield from _boilerplate(prose, subject.sampled)
    yield _person(prose, subject.sampled)
    yield _languages(said, subject.sampled)


def _voice(key: str, found: Sequence[Said], sampled: str) -> Finding:
    informal = [one for one, used in found if used & INFORMAL or SIGNS.search(one.answer)]
    formal = [one for one, used in found if used & FORMAL]
    shares = len(informal) / len(found), len(formal) / len(found)
    mixed = min(shares) >= MIXED
    rare = min(informal, formal, key=len)
    return Finding(
        check=NAME,
        severity=Severity.warning if mixed else Severity.ok,
        text=f"answers of {key}{sampled}: {shares[0]:.1%} use words of chat, {shares[1]:.1%} of letters and reports"
        + ("; the source speaks in both voices" if mixed else ""),
        count=len(rare) if mixed else 0,
        of=len(found),
        action="Where the model is to have one voice, rewrite or leave out the rarer." if mixed else "",
        rows=shown((one.row, one.answer) for one in rare) if mixed else (),
        numbers={"informal": round(shares[0], 4), "formal": round(shares[1], 4)},
    )


def _around(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - 60) : match.end() + 80]


def _boilerplate(prose: Sequence[Exchange], sampled: str) -> Iterator[Finding]:
    lower = [(one, one.answer.lower().translate(APOSTROPHE)) for one in prose]
    said = []
    for (name, (hints, pattern)), much in zip(BOILERPLATE.items(), MUCH, strict=True):
        likely = [(one, text) for one, text in lower if any(hint in text for hint in hints)]
        found = [(one, match.start()) for one, text in likely if (match := pattern.search(text))]
        said.append(f"{name} in {len(found) / len(prose):.1%}")
        if len(found) >= much * len(prose):
            yield Finding(
                check=NAME, severity=Severity.warning, count=len(found), of=len(prose),
                text=f"{len(found):,} of {len(prose):,} answers{sampled} hold {name} ({len(found) / len(prose):.1%})",
                action="The model will say it as often: cut the phrases, unless it is to speak so.",
                rows=shown((one.row, one.answer[max(0, start - 60) : start + 100]) for one, start in found),
            )  # fmt: skip
    yield Finding(check=NAME, severity=Severity.ok, text=f"phrases that say nothing: {', '.join(said)}", of=len(prose))


def _person(prose: Sequence[Exchange], sampled: str) -> Finding:
    """Models and makers that answers claim to be or to come from."""
    named = [one for one in prose if NAMED.search(one.answer)]
    found = [(one.row, match) for one in named if (match := PERSON.search(one.answer))]
    names = Counter(match[1] or match[2] for _, match in found)
    said = ", ".join(f"{name} {count:,}" for name, count in names.most_common(5))
    return Finding(
        check=NAME,
        severity=Severity.warning if found else Severity.ok,
        text=f"{len(found):,} of {len(prose):,} answers{sampled} say that the model is or comes from {said}"
        if found
        else f"none of {len(prose):,} answers{sampled} names a model or maker as the speaker",
        count=len(found),
        of=len(prose),
        action="The tuned model will say so of itself: keep them if it is to, else write who it is, or remove the rows."
        if found
        else "",
        rows=shown((row, _around(match)) for row, match in found),
    )


def language(text: str, used: set[str] | None = None) -> str:
    """The script of a text, or its language where that is told by common words; empty where it is not clear.

    `used` are its different words in lower case, where they are known.
    """
    counts = {name: len(pattern.findall(text)) for name, pattern in SCRIPTS.items()} if not text.isascii() else {}
    script = max(counts, key=lambda name: counts[name]) if counts else "Latin"
    if script == "Han" and counts["Japanese"]:
        return "Japanese"
    if script != "Latin":
        return "Chinese" if script == "Han" else script
    if text.count(" ") < LANGUAGE_WORDS - 1:
        return ""
    seen = set(words(text)) if used is None else used
    hits = sorted(((len(seen & common), name) for name, common in COMMON.items()), reverse=True)
    return hits[0][1] if hits[0][0] >= max(4, 2 * hits[1][0]) else ""


def _languages(said: Sequence[Said], sampled: str) -> Finding:
    told = [(one, name) for one, used in said if (name := language(one.answer, used))]
    counts = Counter(name for _, name in told)
    if not counts:
        return Finding(check=NAME, severity=Severity.ok, text="answers too short to tell their language", of=len(said))
    common = counts.most_common(1)[0][0]
    others = [(one, name) for one, name in told if name != common]
    unlike = [(one, name) for one, name in others if language(one.asked) not in ("", name)]
    text = f"answers{sampled} are in {', '.join(f'{name} {count:,}' for name, count in counts.most_common(6))}"
    if unlike:
        text += f"; {len(unlike):,} are in another language than their prompt"
    return Finding(
        check=NAME,
        severity=Severity.info if others else Severity.ok,
        text=text,
        count=len(others),
        of=len(told),
        action="Where only one language is wanted, leave the others out." if others else "",
        rows=_labelled(unlike or others),
        bars=[(name, count) for name, count in counts.most_common()] if len(counts) > 1 else (),
    )


def _labelled(found: Iterable[tuple[Exchange, str]]) -> list[Shown]:
    return shown((one.row, f"{name}: {one.answer}") for one, name in found)
