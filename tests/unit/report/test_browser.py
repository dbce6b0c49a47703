"""The pages in a real browser: what runs, what is blocked, what sorts and filters, and whether it can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.comparison.measured import right, run
from tests.unit.report import runs
from tests.unit.report.browser import Browser, executable, running
from tuneforge.comparison.comparing import compare
from tuneforge.comparison.contestants import contestants
from tuneforge.report.comparison import write_page
from tuneforge.report.html import write_report

pytestmark = pytest.mark.skipif(not executable(), reason="no Chromium is installed")

CONTRAST = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const over = (color, under) => {
    canvas.fillStyle = `rgb(${under})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (c) => {
    const [r, g, b] = c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const below = (node) => {
    const all = [];
    for (let n = node; n; n = n.parentElement) all.unshift(getComputedStyle(n).backgroundColor);
    return all.reduce((under, color) => over(color, under), [255, 255, 255]);
  };
  const found = [];
  for (const node of document.querySelectorAll("main *")) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !node.checkVisibility()) continue;
    const style = getComputedStyle(node), under = below(node);
    const ink = over(node.closest("svg") ? style.fill : style.color, under);
    const [dark, bright] = [light(ink), light(under)].sort((a, b) => a - b);
    found.push([(bright + 0.05) / (dark + 0.05), `${node.tagName} ${node.className} ${node.textContent.slice(0, 30)}`]);
  }
  return found.sort((a, b) => a[0] - b[0])[0];
})()"""
"""The lowest contrast of any text that is seen with what stands behind it (WCAG 2), and where."""

NUMBERS = "window.table = [...document.querySelectorAll('table.sortable')].find((t) => t.textContent.includes('95 %'))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with markup, scripts and odd characters wherever a run has text from data."""
    return write_report(runs.whole(tmp_path_factory.mktemp("nasty"), runs.NASTY))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    paths = [run(folder / name, {"tuned": right(n)}) for name, n in (("a", 10), ("b-" + "long" * 20, 25), ("c", 4))]
    return write_page(folder, compare(contestants([str(p) for p in paths])))


def test_nothing_from_data_runs_and_nothing_is_asked_for(browser: Browser, nasty: Path) -> None:
    browser.open(nasty)
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.evaluate("document.images.length + document.links.length + document.forms.length") == 0
    assert "<script>alert(1)</script> ]]> &amp;" in browser.evaluate("document.body.innerText")
    assert browser.said == []
    assert browser.asked == [nasty.resolve().as_uri()]


def test_the_policy_holds_even_where_escaping_would_fail(browser: Browser, nasty: Path) -> None:
    browser.open(nasty)
    browser.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    browser.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))")
    browser.evaluate("fetch('http://127.0.0.1:9/').then(() => { window.ran = 1 }, () => 0)")
    assert browser.evaluate("typeof window.ran") == "undefined"
    assert any("Content Security Policy" in text for text in browser.said)


def test_tables_sort_by_what_they_show(browser: Browser, nasty: Path) -> None:
    browser.open(nasty)
    browser.evaluate(NUMBERS)
    click = "table.tHead.querySelectorAll('button')[{}].click()"
    column = "[...table.tBodies[0].rows].map((r) => r.cells[{}].{})"
    browser.evaluate(click.format(4))
    values = browser.evaluate(column.format(4, "dataset.v"))
    assert values == sorted(values, key=float)
    assert browser.evaluate("table.tHead.querySelector('[aria-sort]').textContent") == "value, 95 % interval"
    browser.evaluate(click.format(4))
    assert browser.evaluate(column.format(4, "dataset.v")) == values[::-1]
    browser.evaluate(click.format(5))
    means = browser.evaluate(column.format(5, "textContent"))
    known = [m for m in means if m]
    assert known == sorted(known)
    assert means[len(known) :] == [""] * (len(means) - len(known)), "what has no value stands last"


def test_tables_filter_by_what_is_typed(browser: Browser, nasty: Path) -> None:
    browser.open(nasty)
    browser.evaluate(NUMBERS)
    browser.evaluate("window.bar = table.closest('.scroll').previousElementSibling")
    typed = "bar.firstChild.value = {!r}; bar.firstChild.dispatchEvent(new Event('input'))"
    seen = "[...table.tBodies[0].rows].filter((r) => r.checkVisibility()).length"
    browser.evaluate(typed.format("TUNED general"))
    assert browser.evaluate(seen) == 2
    assert browser.evaluate("bar.lastChild.textContent") == "2 of 14 rows"
    browser.evaluate(typed.format("<script>"))
    assert browser.evaluate(seen) == 0
    browser.evaluate(typed.format(""))
    assert browser.evaluate(seen) == 14


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("page", ["nasty", "comparison"])
def test_it_can_be_read(browser: Browser, page: str, width: int, dark: bool, request: pytest.FixtureRequest) -> None:
    browser.open(request.getfixturevalue(page), width, dark)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, "wide tables scroll by themselves"
    ratio, where = browser.evaluate(CONTRAST)
    assert ratio >= 4.5, where
    assert browser.said == []


@pytest.mark.parametrize("width", [1280, 390])
def test_a_long_finding_wraps(browser: Browser, nasty: Path, width: int) -> None:
    browser.open(nasty, width)
    browser.evaluate(
        "for (const s of document.querySelectorAll('.findings .said')) s.textContent = 'word '.repeat(300)"
    )
    assert browser.evaluate("document.querySelectorAll('.findings .said').length") > 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_printed_keeps_the_proofs(browser: Browser, nasty: Path) -> None:
    browser.open(nasty)
    browser.call("Emulation.setEmulatedMedia", media="print")
    seen = "[...document.querySelectorAll('.checks > details > summary')].map((s) => s.checkVisibility())"
    assert browser.evaluate(seen) == [True] * browser.evaluate(f"{seen}.length")
    assert browser.evaluate(f"{seen}.length") >= 5


def test_headings_of_tables_say_what_they_are_of(browser: Browser, nasty: Path, comparison: Path) -> None:
    for page in (nasty, comparison):
        browser.open(page)
        assert browser.evaluate("document.querySelectorAll('th:not([scope])').length") == 0


def test_ten_thousand_rows_open_and_filter(browser: Browser, tmp_path: Path) -> None:
    lines = [runs.sample(i, "target", 0, i % 2, f"row number {i}") for i in range(10_000)]
    browser.open(write_report(runs.whole(tmp_path) and runs.write(tmp_path, {"samples.jsonl": lines})))
    browser.evaluate("window.every = document.querySelector('details.every'); every.open = true")
    browser.evaluate(
        "every.querySelector('input').value = 'number 1999';"
        "every.querySelector('input').dispatchEvent(new Event('input'))"
    )
    assert browser.evaluate("every.querySelector('[role=status]').textContent") == "1 of 1,000 rows"
    assert browser.said == []
