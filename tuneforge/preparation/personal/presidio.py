"""Presidio's recognisers over a blank spaCy pipeline: no model is downloaded, so it finds no names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from tuneforge.extras import require
from tuneforge.preparation.personal.kinds import Span

OURS = {
    "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "CREDIT_CARD": "CREDIT_CARD", "IBAN_CODE": "IBAN",
    "IP_ADDRESS": "IP", "US_SSN": "US_SSN", "DATE_TIME": "DATE", "LOCATION": "LOCATION", "PERSON": "PERSON",
    "US_DRIVER_LICENSE": "RECORD_NUMBER", "US_PASSPORT": "RECORD_NUMBER", "US_BANK_NUMBER": "RECORD_NUMBER",
    "UK_NHS": "RECORD_NUMBER", "MEDICAL_LICENSE": "RECORD_NUMBER", "US_ITIN": "RECORD_NUMBER",
}  # fmt: skip
"""Its names of kinds: ours. A kind that is not here keeps its name."""
LEFT_OUT = ("EmailRecognizer", "UrlRecognizer", "DateRecognizer")
"""The first two ask the network for the list of public suffixes; dates are found only after words of birth here."""
SCORE = 0.4
"""Presidio's confidence from which a finding counts: its patterns without a checksum or words around them lie below."""


class Presidio:
    """An AnalyzerEngine for English that needs no network."""

    def __init__(self) -> None:
        require("presidio_analyzer", "pii", "transform.deidentify.engine=presidio")
        import spacy
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import SpacyNlpEngine

        logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
        pipeline = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
        pipeline.nlp = {"en": spacy.blank("en")}
        registry = RecognizerRegistry(supported_languages=["en"])
        registry.load_predefined_recognizers(languages=["en"], nlp_engine=pipeline)
        for name in (*LEFT_OUT, "SpacyRecognizer"):
            registry.remove_recognizer(name)
        self._engine: Any = AnalyzerEngine(registry=registry, nlp_engine=pipeline, supported_languages=["en"])
        found = self._engine.get_supported_entities("en")
        self.kinds = frozenset(OURS.get(kind, kind) for kind in found)
        """What it can find, by our names."""

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text, overlapping ones among them."""
        return [
            [Span(r.start, r.end, OURS.get(r.entity_type, r.entity_type)) for r in self._analyzed(text)]
            for text in texts
        ]

    def _analyzed(self, text: str) -> Any:
        return self._engine.analyze(text, language="en", score_threshold=SCORE)
