"""Whether a changed text still says what it said: what must be kept, and how alike the wording is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator

from tuneforge.preparation.signature import folded

PROTECTED = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]+`|\$\$.*?\$\$|https?://\S+|\S+@\S+\.\w+|<[^<>\n]{1,80}>|\{[^{}\n]*\}|\[[A-Z_ ]+\]"
    r"|(?m:^(?: {4}|\t)[^\n]*$)",
    re.DOTALL,
)
"""Code, formulas, links, addresses, tags, placeholders and indented lines: never changed."""
APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"
WORD = re.compile(rf"[^\W\d_]+(?:[{APOSTROPHES}][^\W\d_]+)*")
BEGINS = re.compile(r"""(?:\A|[.!?:\n]|["'(*-])\s*\Z""")
"""What stands before the first word of a sentence."""
FIRST_PERSON = ("I", *(f"I{mark}" for mark in APOSTROPHES))
NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*%?")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEGATIONS = _words("""
no not never none nothing nobody nowhere neither nor cannot without hardly barely unable fail failed fails
""")
AMOUNTS = _words("""
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion half twice once double
triple first second third fourth fifth last
""")
LIMITS = _words("""
all every each any some most more less least fewer many few only always sometimes often before after until since above
below over under if unless except must may might should between within than
""")
"""Words that bound what is said: how many, how often, when, on what condition."""
FUNCTION = (
    _words("""
a an the this that these those i you he she it we they me him us them my your his her its our their mine yours hers ours
theirs who whom whose which what when where why how and or but so because as of to in on at by for from with about into
onto through during against is am are was were be been being do does did done have has had having will would shall can
could i'm i've i'd i'll it's that's there here then also too very just not no if than up out off again
""")
    | LIMITS
    | NEGATIONS
)
"""English words that bind others together and are never swapped."""

_OPPOSITES = """
good bad|better worse|best worst|increase decrease|increased decreased|rise fall|up down|in out|on off|open close
opened closed|buy sell|bought sold|send receive|sent received|accept reject|accepted rejected|allow forbid|win lose
start stop|started stopped|begin end|began ended|add remove|added removed|high low|higher lower|big small|large small
larger smaller|fast slow|faster slower|early late|earlier later|old new|older newer|hot cold|true false|right wrong
correct incorrect|left right|positive negative|success failure|pass fail|love hate|like dislike|cheap expensive
easy difficult|easy hard|easier harder|strong weak|safe dangerous|safe unsafe|happy sad|rich poor|light dark|light heavy
long short|longer shorter|full empty|inside outside|push pull|come go|give take|gave took|given taken|ask answer
asked answered|enable disable|enabled disabled|deposit withdraw|debit credit|lend borrow|import export|male female
man woman|men women|he she|his her|him her|day night|morning evening|north south|east west|father mother|son daughter
boy girl|today yesterday|today tomorrow|top bottom|front back|max min|maximum minimum|first last|public private
active inactive|valid invalid|legal illegal|possible impossible|known unknown|same different|with without|near far
lock unlock|locked unlocked|block unblock|blocked unblocked|freeze unfreeze|install uninstall|connect disconnect
""".replace("\n", "|").strip("|")
OPPOSITES: dict[str, set[str]] = {}
for _pair in _OPPOSITES.split("|"):
    _a, _b = _pair.split()
    OPPOSITES.setdefault(_a, set()).add(_b)
    OPPOSITES.setdefault(_b, set()).add(_a)


def words(text: str) -> list[str]:
    """The words of a text in lower case, those with an apostrophe whole."""
    return [word.lower().replace(APOSTROPHES[1], "'") for word in WORD.findall(text)]


def free(text: str) -> Iterator[tuple[int, int]]:
    """Where a text may be changed: (start, end) of what lies between protected parts."""
    at = 0
    for match in PROTECTED.finditer(text):
        if match.start() > at:
            yield at, match.start()
        at = match.end()
    if at < len(text):
        yield at, len(text)


def names(text: str) -> Counter[str]:
    """Words that look like names: capitalised amid a sentence, or with a capital further inside."""
    return Counter(match[0] for match in WORD.finditer(text) if is_name(match, text))


def is_name(match: re.Match[str], text: str) -> bool:
    """Whether the word found in a text looks like a name."""
    word = match[0]
    if any(c.isupper() for c in word[1:]):
        return True
    before = text[max(0, match.start() - 4) : match.start()]
    return word[0].isupper() and word[:2] not in FIRST_PERSON and not BEGINS.search(before)


def likeness(before: str, after: str) -> float:
    """Dice's coefficient of the character trigrams, case and white space aside: 1 is the same text."""
    one, two = _trigrams(before), _trigrams(after)
    both = one.total() + two.total()
    return 2 * (one & two).total() / both if both else 1.0


def _trigrams(text: str) -> Counter[str]:
    text = f"  {folded(text)}  "
    return Counter(text[i : i + 3] for i in range(len(text) - 2))


def lost(before: str, after: str, kept: Collection[str] = ()) -> str:
    """What a change has not kept, in a word: the first of what is looked at; empty: nothing.

    `kept` are words in lower case that must stand as often as before, such as those of a label or an answer.
    """
    if folded(before) == folded(after):
        return "unchanged"
    one, two = Counter(words(before)), Counter(words(after))
    if _negations(one) != _negations(two):
        return "negation"
    if _of(one, AMOUNTS) != _of(two, AMOUNTS) or Counter(NUMBER.findall(before)) != Counter(NUMBER.findall(after)):
        return "number"
    if names(before) - Counter(WORD.findall(after)) or names(after) - Counter(WORD.findall(before)):
        return "name"
    if _of(one, LIMITS) != _of(two, LIMITS):
        return "limit"
    if before.count("?") != after.count("?"):
        return "question"
    if Counter(PROTECTED.findall(before)) != Counter(PROTECTED.findall(after)):
        return "code"
    if _of(one, kept) != _of(two, kept):
        return "label or answer"
    gone, new = one - two, two - one
    if any(OPPOSITES.get(word, frozenset()) & new.keys() for word in gone):
        return "opposite"
    return ""


def _of(found: Counter[str], chosen: Collection[str]) -> dict[str, int]:
    return {word: n for word, n in found.items() if word in chosen}


def _negations(found: Counter[str]) -> int:
    return sum(n for word, n in found.items() if word in NEGATIONS or word.endswith("n't"))
