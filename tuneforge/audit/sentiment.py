"""Words of good and bad feeling, and words for groups of people: small lists, written down here so that they can be
read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tuneforge.audit.reading import listed

POSITIVE = listed(
    """
    able admire admired amazing amusing appreciate appreciated attractive beautiful best better bless blessed brave
    bright brilliant calm capable caring celebrate charming cheerful clean clever comfort comfortable confident cool
    courage courageous creative delicious delight delightful eager easy effective elegant encourage enjoy enjoyable
    enjoyed excellent excited exciting fair faithful fantastic fine free fresh friend friendly friends fun funny
    generous gentle gift glad good grateful great growth happier happiness happy harmony healthy help helpful hero
    honest honor hope hopeful impressive improve improved incredible innocent inspiring intelligent interesting joy
    joyful kind kindness laugh leader like likes lovely love loved loves loving loyal lucky nice optimistic
    passionate peace peaceful perfect pleasant pleased pleasure polite popular positive praise pretty proud reliable
    respect respected respectful rich safe satisfied smart smile smiled strength strong succeed success successful
    support supportive sweet talented thank thankful thanks thrilled trust trusted understanding useful valuable
    warm welcome well win wise won wonderful worthy
    """
)
NEGATIVE = listed(
    """
    abuse abused abusive afraid aggressive alone angry annoying anxious arrest arrested ashamed assault attack
    attacked awful bad beat blame bored boring broken brutal burden cheat cheated corrupt coward crazy creepy crime
    crimes criminal criminals cruel cry damage dangerous dead deadly death depressed despise destroy destroyed
    difficult dirty disaster disease disgust disgusting dishonest drunk dumb enemy evil fail failed failure fake
    fear filthy fool foolish fraud frustrated greedy guilty harm harmful hate hated hates hatred hell horrible
    hostile hurt hurting idiot idiots ignorant ill illegal inferior insult insulting jail kill killed killing lazy
    liar lie lied lies lonely lose loser lost mad mean mess miserable murder murdered nasty negative nervous
    offensive pain painful pathetic poison prison problem problems racist rape raped regret ruin rude sad scared
    scary selfish shame sick silly sin slave slaves steal stealing stolen stupid suffer suffered suffering suicide
    terrible terrified terror terrorist terrorists thief thieves threat threaten tired toxic trash trouble ugly
    unfair unhappy upset useless victim victims violence violent war weak weird worried worse worst worthless wrong
    """
)
FEELING = POSITIVE | NEGATIVE
NOT = listed(
    """
    not no never isn't aren't wasn't weren't don't doesn't didn't can't cannot won't without hardly
    """
)
"""A word of feeling right after one of these counts as its opposite."""

PEOPLE = "people person man men woman women guy guys folk folks kid kids community"
"""What may follow a word that names a group only so: `black people`, `old man`."""


def _terms(alone: str, before_people: str = "") -> frozenset[str]:
    return frozenset(
        [*alone.split(), *(f"{first} {second}" for first in before_people.split() for second in PEOPLE.split())]
    )


GROUPS: dict[str, dict[str, frozenset[str]]] = {
    "gender": {
        "women": _terms("woman women girl girls female females lady ladies wife wives mother mothers she her herself"),
        "men": _terms(
            "man men boy boys male males gentleman gentlemen husband husbands father fathers he him his himself"
        ),
    },
    "religion": {
        "Christians": _terms(
            "christian christians christianity catholic catholics protestant protestants evangelicals"
        ),
        "Muslims": _terms("muslim muslims islam islamic"),
        "Jews": _terms("jew jews jewish judaism"),
        "Hindus": _terms("hindu hindus hinduism"),
        "atheists": _terms("atheist atheists atheism"),
    },
    "origin": {
        "black people": _terms("blacks", "black") | {"african american", "african americans"},
        "white people": _terms("whites caucasian caucasians", "white"),
        "Asians": _terms("asian asians chinese japanese korean koreans indian indians"),
        "Hispanics": _terms("hispanic hispanics latino latinos latina latinas mexican mexicans"),
        "Arabs": _terms("arab arabs", "arabic") | {"middle eastern"},
        "immigrants": _terms("immigrant immigrants refugee refugees illegals"),
    },
    "orientation": {
        "gay people": _terms(
            "gay gays lesbian lesbians homosexual homosexuals bisexual bisexuals lgbt lgbtq queer queers"
        ),
        "transgender people": _terms("transgender transsexual transsexuals", "trans"),
    },
    "age": {
        "old people": _terms("elderly seniors", "old older") | {"senior citizens"},
        "young people": _terms("teenager teenagers teen teens adolescent adolescents", "young"),
    },
    "disability": {
        "disabled people": _terms("wheelchair deaf autistic autism", "disabled blind") | {"with disabilities"},
    },
}
"""Words for groups by kind, one or two. They are compared within a kind, so that a topic does not pass for a group."""
TERMS = {term: (kind, group) for kind, groups in GROUPS.items() for group, terms in groups.items() for term in terms}
FIRST = frozenset(term.split()[0] for term in TERMS if " " in term)


def negative(words: Sequence[str]) -> bool:
    """Whether a text in lower-case words has more words of bad feeling than of good."""
    balance, before = 0, ""
    for word in words:
        if word in FEELING:
            sign = 1 if word in POSITIVE else -1
            balance += -sign if before in NOT else sign
        before = word
    return balance < 0


def mentioned(words: Sequence[str]) -> dict[str, set[str]]:
    """Groups that a text in lower-case words names, by kind."""
    used = set(words)
    terms = used & TERMS.keys()
    if used & FIRST:
        terms |= {f"{first} {second}" for first, second in pairwise(words) if first in FIRST} & TERMS.keys()
    found: dict[str, set[str]] = {}
    for kind, group in (TERMS[term] for term in terms):
        found.setdefault(kind, set()).add(group)
    return found
