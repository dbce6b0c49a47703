"""Which words are marked as not being in another text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.report import runs
from tests.unit.report.test_report import report, words
from tuneforge.report.differences import LONGEST, stretches


def marked(text: str, reference: str = "", rival: str | None = None) -> str:
    """The text with `_` around what the reference lacks and `*` around what the rival lacks."""
    found = []
    for stretch in stretches(text, reference, rival):
        sign = "_" * stretch.off + "*" * stretch.new
        found.append(sign + stretch.text + sign)
    return "".join(found)


@pytest.mark.parametrize(
    ("text", "reference", "rival", "expected"),
    [
        ("Reset the VPN now", "Reset the VPN", None, "Reset the VPN _now_"),
        ("Reset the VPN now", "", "Reset a VPN now", "Reset *the* VPN now"),
        ("call us today", "call us tomorrow", "call us yesterday", "call us _*today_*"),
        ('{"queue":"network"}', '{"queue":"mail"}', None, '{"queue":"_network_"}'),
        ("I can help with that", '{"queue":"mail"}', "no", "I can help with that"),
        ("重置网络连接吧", "重置网络连接", None, "重置网络连接_吧_"),
        ("", "all of it", "all", ""),
        ("all of it", "all of it", "all of it", "all of it"),
        ("naïve Ünïcode עברית", "naïve Ünïcode", None, "naïve Ünïcode _עברית_"),
    ],
)
def test_words_that_another_text_lacks(text: str, reference: str, rival: str | None, expected: str) -> None:
    assert marked(text, reference, rival) == expected
    assert "".join(s.text for s in stretches(text, reference, rival)) == text


def test_a_megabyte_is_cut_aloud_before_it_is_compared() -> None:
    text = "word " * 200_000
    found = stretches(text, text, "word")
    assert found[-1].text == f"… ({len(text) - LONGEST:,} more characters)"
    assert sum(len(s.text) for s in found[:-1]) == LONGEST


def test_marks_stand_in_the_page_and_say_what_they_are(tmp_path: Path) -> None:
    runs.whole(tmp_path)
    line = runs.sample(1, "target", 0, 1)
    answers = {
        "base": "reset <b>the</b> router",
        "prompted": "reset <b>the</b> router",
        "tuned": "reset <b>the</b> modem",
    }
    runs.write(tmp_path, {"samples.jsonl": [line | {"answers": answers, "reference": "reset <b>the</b> modem"}]})
    html = (report(tmp_path) and tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'reset &lt;b&gt;the&lt;/b&gt; <span class="off new">router</span>' in html
    assert 'reset &lt;b&gt;the&lt;/b&gt; <span class="new">modem</span>' in html
    assert "underlined: words that the reference does not have" in words(report(tmp_path))
