"""Languages of rows written for this test, of code and formulas, and of real sets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.transform.real import real_rows
from tuneforge.errors import ConfigError
from tuneforge.rows import Rejected, Row
from tuneforge.transform.language import Judged, Language, Unsure

pytest.importorskip("py3langid")

SENTENCES = {
    "en": "Please send me the report before Friday so that I can check the numbers.",
    "de": "Bitte schicken Sie mir den Bericht bis Freitag, damit ich die Zahlen prüfen kann.",
    "fr": "Envoyez-moi le rapport avant vendredi pour que je puisse vérifier les chiffres.",
    "es": "Envíeme el informe antes del viernes para que pueda revisar las cifras.",
    "it": "Mandami il rapporto prima di venerdì così posso controllare i numeri.",
    "nl": "Stuur me het rapport voor vrijdag zodat ik de cijfers kan controleren.",
    "pl": "Proszę przesłać mi raport przed piątkiem, żebym mógł sprawdzić liczby.",
    "zh": "请在星期五之前把报告发给我，以便我核对数字。如果有问题请告诉我。",  # noqa: RUF001
}
CODE = [
    "def add(first, second):\n    return first + second",
    "for (int i = 0; i < n; i++) { total += values[i]; }",
    "x^2 + 3x - 4 = 0, so x = 1 or x = -4; f(x) = sin(x) + cos(x) * exp(x)",
]


def kept(rows: list[dict[str, Any]], **options: Any) -> tuple[list[Any], Counter[str]]:
    context = SimpleNamespace(counts=Counter())
    found = list(Language(**options).apply([Row(columns=c) for c in rows], context))  # type: ignore[arg-type]
    return [item.reason.partition(":")[0] if isinstance(item, Rejected) else "" for item in found], context.counts


def test_each_language_is_told() -> None:
    found, counts = kept([{"text": text} for text in SENTENCES.values()], languages=["en", "DE"])
    assert found == ["", "", *(f"language {code}" for code in list(SENTENCES)[2:])]
    assert counts == dict.fromkeys(SENTENCES, 1)


def test_code_formulas_and_short_texts_stay_and_are_counted() -> None:
    rows = [{"prompt": "x", "completion": text} for text in (*CODE, "4", "Nein!")]
    assert kept(rows) == ([""] * 5, {"not sure": 3, "too short to tell": 2})
    assert kept(rows, unsure=Unsure.drop)[0] == ["language not sure"] * 3 + ["", ""]


def test_which_texts_decide() -> None:
    row = {"prompt": f"Translate: {SENTENCES['en']}", "completion": SENTENCES["de"]}
    assert kept([row])[0] == ["language de"]
    assert kept([row], judged=Judged.prompt)[0] == [""]
    asked, said = {"role": "user", "content": SENTENCES["fr"]}, {"role": "assistant", "content": SENTENCES["en"]}
    turns = {"messages": [asked, said]}
    assert kept([turns])[0] == [""]
    assert kept([turns], judged=Judged.prompt)[0] == ["language fr"]
    pair = {"prompt": SENTENCES["en"], "chosen": SENTENCES["en"], "rejected": SENTENCES["pl"] * 3}
    assert kept([pair])[0] == [""]
    fenced = {"prompt": "x", "completion": f"```\n{SENTENCES['de']}\n```\n{SENTENCES['en']}"}
    assert kept([fenced])[0] == [""]


def test_refusals() -> None:
    with pytest.raises(ConfigError, match=r"transform.language.languages: 'english' is no code of a known language"):
        kept([], languages=["english"])
    found = list(Language(languages=[], min_confidence=2).check(None))  # type: ignore[arg-type]
    assert found == ["languages=[] keeps no language; name some, as [en,de]", "min_confidence=2 must be from 0 to 1"]


@pytest.mark.shared
def test_real_sets(shared: Path) -> None:
    """Every dropped row was read, and is in the language that it is dropped for."""

    def dropped(name: str, count: int = 300) -> dict[Any, str]:
        context = SimpleNamespace(counts=Counter())
        found = Language().apply(real_rows(shared, name)[:count], context)  # type: ignore[arg-type]
        return {item.row.line: item.reason[:11] for item in found if isinstance(item, Rejected)}

    languages = {30: "es", 131: "ro", 183: "hi", 240: "fi", 290: "id"}
    assert dropped("dpo") == {line: f"language {code}" for line, code in languages.items()}
    assert dropped("gsm8k") == dropped("c4") == dropped("cypher", 100) == dropped("boolean") == {}
