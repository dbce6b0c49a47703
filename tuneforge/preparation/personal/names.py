"""Names of persons where the words around them say so; a pattern knows no names."""

from __future__ import annotations

from tuneforge.preparation.personal.pattern import Pattern

_WORD = r"\p{Lu}(?:['\u2019](?!s\b)|\p{L})*"
"""A capitalised word, an apostrophe in it, as in O'Neill, but no genitive."""
_PART = r"(?!(?:Apt|Suite|Unit|Box|PO|Street)\b)(?:\p{Lu}\.|_W(?:-_W)?)".replace("_W", _WORD)
_NAME = rf"{_PART}(?:[ \t](?:(?:de|da|di|la|le|van|von|der|den|bin|al|el|del|dos)[ \t]){{0,2}}{_PART}){{0,3}}"
_FULL = rf"{_PART}(?:[ \t](?:(?:de|da|di|la|le|van|von|der|den|bin|al|el|del|dos)[ \t]){{0,2}}{_PART}){{1,3}}"
_TITLE = r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Herr|Frau|Monsieur|Madame|Mme|Sr|Sra|Señora?|Signora?)"
_NOBODY = (
    r"(?!(?:Sir|Madam|All|Team|Customer|Friends?|Santa|God|Lord|Diary|Mom|Dad|Editor|Hiring|Colleagues?|Professor|"
    r"Members?|User|Reader|Students?|Parents?|President|Your|Esteemed|Valued|Reviewers?|Mr|Mrs|Ms|Dr|The|A|An|I|My|It|And|So)\b)"
)

PATTERNS = (
    Pattern("PERSON", rf"(?<!\p{{L}}){_TITLE}(?:\.[ ]?|[ ]){_NOBODY}(?P<value>{_NAME})", gate=rf"\b{_TITLE}\b"),
    Pattern(
        "PERSON",
        r"(?i:\b(?:my|his|her|their|your|the\s(?:patient|customer|client|caller|user))(?:'s)?\s(?:(?:first|last|full|maiden|"
        rf"middle|family|partner'?s?)\s)?name(?:'s|\sis|\swas|:))\s{_NOBODY}(?P<value>{_NAME})",
        words=r"name",
    ),
    Pattern(
        "PERSON",
        rf"(?i:\b(?:call\sme|i\s?am\scalled|this\sis\sdr\.?|mein\sname\sist|ich\shei(?:ß|ss)e|je\sm'appelle|me\sllamo))\s"
        rf"{_NOBODY}(?P<value>{_NAME})",
        words=r"call me|called|this is|mein name|ich hei|m'appelle|me llamo",
    ),
    Pattern(
        "PERSON",
        rf"(?<!\w)I(?:['\u2019]m|[ ]am)[ ]{_NOBODY}(?P<value>{_FULL})(?=[ ]*(?:[,.;!?\n]|$|and\b|from\b))",
        words=r"i.m |i am ",
    ),
    Pattern(
        "PERSON",
        r"(?m)^[ \t>*-]{0,6}(?:Full |First |Last |Patient |Customer |Client )?[Nn]ame[ \t]?:[ \t]{0,8}"
        rf"(?P<value>{_NAME})(?=[ \t]*(?:$|[,;(]))",
        words=r"name",
    ),
    Pattern("PERSON", rf"(?m)^[ \t]*(?:Dear|Hi|Hello)[ ](?:{_TITLE}\.?[ ])?{_NOBODY}(?P<value>{_NAME})(?=[ \t]*[,!:])",
            words=r"dear|hi |hello "),
    Pattern(
        "PERSON",
        r"(?:(?i:best|kind|warm)\s)?(?:(?i:regards|sincerely(?:\syours)?|yours\s(?:truly|sincerely|faithfully)|cheers|"
        rf"mit freundlichen grüßen)),?[ \t]*\n\s*(?P<value>{_FULL}|{_PART})(?=[ \t]*(?:$|\n))",
        words=r"regards|sincerely|yours|cheers|grüßen",
    ),
)  # fmt: skip
