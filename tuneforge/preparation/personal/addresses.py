"""Postal addresses: streets of English and European forms, boxes, and what follows a street on its lines."""

from __future__ import annotations

from tuneforge.preparation.personal.pattern import Pattern

_FREE = r"(?<![\w.,$€£/-])"
"""A number may begin here: no amount, no decimal, no part of another."""
_WORD = r"\p{Lu}[\p{L}'\u2019.-]{0,24}"
_ENGLISH = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Squares|Sq|Terrace|Way|"
    r"Parkway|Pkwy|Circle|Cir|Trail|Highway|Hwy|Close|Crescent|Cres|Grove|Gardens|Mews|Row|Alley|Plaza|Turnpike|Quay|"
    r"Expressway|Walk|Hill|Rise|Vale)"
)
_KINDS = (
    r"(?:Rua|Rúa|Rue|Via|Viale|Vicolo|Piazza|Piazzale|Corso|Strada(?: Provinciale)?|Calle|Carrer|Avenida|Avenue|Av\.?|"
    r"Avda\.?|Plaza|Paseo|Camino|Largo|Travessa|Praça|ul\.|ulica|al\.|Aleja|Aleje|Boulevard|Chemin|Place|Impasse|Allée|"
    r"Quai|Route|Λεωφόρος|Πλατεία|Οδός|Λ\.|улица|ул\.)"
)
"""What a street is called where the kind comes first."""
_SMALL = r"(?:de|du|des|da|do|dos|das|di|del|della|dei|la|le|les|las|los|el|of|the|van|von|der|den|dem|i|y|e|et)"
_COMPOUND = (
    r"(?:straße|strasse|str\.|gasse|weg|platz|allee|damm|gürtel|gatan|gata|vägen|veien|vej|vænget|gade|katu|tie|kuja|"
    r"polku|laan|straat|plein|gracht|kade|dreef|stien|braut|stræti|hlíð|ova|ného|utca|körút)"
)
"""How a street ends where the kind is part of its name."""
_APART = r"(?:Strasse|Straße|Stræde|Gürtel|tér|utca|u\.|útja|körút|rkp\.|terrasse|alle|vei|út)"
"""How a street ends where the kind is a word of its own behind the name."""
_FLAT = r"(?:(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room)\b\.?\s?#?\s?|#\s?)[\dA-Z]{1,5}\b"
_STATE = r"\p{Lu}{2}\s\d{5}(?:-\d{4})?"
_UK = r"\p{Lu}{1,2}\d[\p{Lu}\d]?\s\d\p{Lu}{2}"
_TOWN_WORD = r"(?:St\.|\p{Lu}[\p{L}'\u2019-]{2,24})"
_TOWN = rf"{_TOWN_WORD}(?:[ -]{_TOWN_WORD}){{0,2}}"
_CODE = rf"(?:{_STATE}|{_UK})"
_TAIL = (
    rf"(?:,?\s{{1,3}}{_FLAT}){{0,2}}"
    rf"(?:[,\s]\s{{0,4}}{_TOWN},?\s{{1,3}}{_CODE}|,\s?{_TOWN}(?:,\s?\p{{Lu}}{{2}}\b)?|,?\s\d{{4,5}}\s{_TOWN})?"
)
"""What may follow a street: a flat, a town, a state with its code, a British or continental code."""
_HOUSE = r"\d{1,5}(?:\s?[a-zA-Z]|[/-]\d{1,4})?"
_BEFORE = r"\d{1,5}(?:\s?(?:bis|ter))?,?\s"
_WORDS = rf"(?:(?:(?:[ld]')?{_WORD}|{_SMALL})\s){{0,5}}(?:[ld]')?{_WORD}"
_INLINE = r"(?:[^\n@{}\[\]\"'<>=|.;]|'(?=\p{L})|\.(?!\s|$)|(?<=\b\p{L}{1,3})\.)"
"""What an address on one line is made of; a full stop ends it unless it follows a short word, as in St."""

PATTERNS = (
    Pattern(  # 221B Baker Street, London
        "ADDRESS",
        rf"{_FREE}(?<!\b[Tt]he )(?:{_HOUSE}[ ]){{1,2}}(?:{_WORD}\s|\d{{1,3}}(?:st|nd|rd|th)\s|{_SMALL}\s){{1,5}}?"
        rf"{_ENGLISH}\b\.?{_TAIL}",
        gate=r"\d(?: ?[a-zA-Z]|[/-]\d+| \d+)? (?:[^\W\d_a-z]|\d+[snrt])",
        digits=1,
    ),
    Pattern(  # Calle de Alcalá 42
        "ADDRESS",
        rf"{_FREE}(?:{_BEFORE}){{0,2}}(?<!\p{{L}}){_KINDS}\s{_WORDS},?\s(?:n[º°.]?\s?)?{_HOUSE}(?![\w.,]\d){_TAIL}",
        gate=rf"{_KINDS}\s",
        digits=1,
    ),
    Pattern(  # 12 rue des Martyrs, 75009 Paris
        "ADDRESS",
        rf"{_FREE}{_BEFORE}(?i:{_KINDS})\s{_WORDS}{_TAIL}",
        gate=rf"(?i:\d,? {_KINDS}\s)",
        digits=1,
    ),
    Pattern(  # Hauptstraße 12, 10115 Berlin
        "ADDRESS",
        rf"{_FREE}(?:\d{{1,5}}\s)?(?:{_WORD}\s){{0,2}}?(?:\p{{Lu}}[\p{{L}}'-]{{1,24}}{_COMPOUND}|{_WORD}\s{_APART})\s"
        rf"{_HOUSE}\.?(?![\w]|[.,:]\d){_TAIL}",
        gate=rf"[^\W\d_a-z]\w{{2,24}}\.?(?:\s{_APART})?\s\d",
        digits=1,
    ),
    Pattern(
        "ADDRESS",
        r"(?i)\bP\.?\s?O\.?\s?Box\s#?\d{1,7}\b|\bpost(?:box|fach)\s\d{1,7}\b",
        words=r"box|postfach",
        digits=1,
    ),
    Pattern(  # PSC 3, Box 8144, APO AA 42323
        "ADDRESS",
        r"(?i)(?<!\w)(?:(?:PSC|CMR|Unit)\s\d{1,5},?\sBox\s\d{1,6}|US(?:NS|CGC|S)\s[\p{L}' -]{2,30}),?\s{1,3}"
        r"[ADF]PO\sA[AEP]\s\d{5}\b",
        words=r"apo a|dpo a|fpo a",
        digits=1,
    ),
    Pattern("ADDRESS", r"(?i)(?<!\w)(?:apt\.?|suite)\s#?\d{1,5}[a-z]?\b", words=r"apt|suite", digits=1),
    Pattern(  # Address: what stands on the line
        "ADDRESS",
        r"(?i)(?<![\w-])(?<!(?:mail|ip|web|mac|url|site)\s)(?:(?:billing|shipping|home|postal|mailing|street|delivery)\s)?"
        r"(?:address|anschrift|adresse)[\"']?\s?:\s{0,8}[\"']?(?=[^\n\"]{0,80}\p{L}{3})"
        rf"(?P<value>[\p{{L}}\d#](?:(?!\d){_INLINE}){{0,60}}\d{_INLINE}{{0,80}})",
        words=r"address|anschrift|adresse",
        digits=1,
    ),
    Pattern(  # lives at 86036 Rua do Arenque 1634
        "ADDRESS",
        r"(?i:\b(?:live[sd]?|living|located|resid(?:e[sd]?|ing)|address\sis|moved|sent|delivered?|office|restaurant|"
        r"meet(?:\sme|\syou)?|return|taxi|stop)\s(?:is\s)?(?:in|at|on|to)\s)(?P<value>(?:\d{1,6}\s){1,2}"
        rf"(?:(?:{_WORD}\s){{1,4}}{_HOUSE}\b|(?:\p{{L}}[\p{{L}}'\u2019.-]*\s){{1,4}}"
        rf"(?i:street|road|avenue|lane|drive|st|rd)\b\.?){_TAIL})",
        gate=r" (?:in|at|on|to) \d",
        digits=1,
    ),
)
