"""The page of a comparison: readable whatever the runs left, and closed like the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.comparison.measured import right, rows, run
from tests.unit.report.runs import NASTY
from tests.unit.report.test_report import Page, words
from tuneforge.comparison.comparing import Comparison, compare
from tuneforge.comparison.contestants import contestants
from tuneforge.evaluation.figures import with_interval
from tuneforge.evaluation.statistics import newcombe
from tuneforge.report.comparison import render, write_page


def three(tmp_path: Path) -> Comparison:
    """Two runs that compare and one that failed."""
    paths = [run(tmp_path / "first", {"tuned": right(10)})]
    paths.append(run(tmp_path / "second", {"tuned": right(30)}, overrides=["seed=7"]))
    paths.append(run(tmp_path / "third", {"tuned": right(1)}, record={"status": "failed", "error": NASTY}))
    (paths[2] / "metrics.json").unlink()
    return compare(contestants([str(p) for p in paths]))


def test_what_the_page_says(tmp_path: Path) -> None:
    page = Page(write_page(tmp_path, three(tmp_path)).read_text(encoding="utf-8"))
    text = words(page)
    gain = with_interval(*newcombe(10, 20, 0, 10), sign=True)
    order = ("differences are against A, first", f"betterB second exact_match on test {gain} against A",
             "not proven", "38,801", "failed: <script>alert(1)</script>", "n = 40", "20 of 40 rows of test", "A✗",
             "seed", "All trained on the same rows", "second - first")  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert page.tags.count("circle") == 2
    assert page.tags.count("script") == 1
    assert "style" not in dict(page.attributes)
    assert '<span class="off new">' not in text


def test_a_refusal_stands_on_the_page_of_a_grid(tmp_path: Path) -> None:
    first = run(tmp_path / "a", {"tuned": right(10)})
    other = run(tmp_path / "b", {"tuned": right(10)}, sets={"test": rows(41)})
    text = words(Page(render(compare(contestants([str(first), str(other)])))))
    assert "Some numbers do not compare" in text
    assert "test.test (exact_match): a and b differ in their rows (40 and 41" in text


@pytest.mark.parametrize("count", [0, 1])
def test_with_fewer_than_two_that_have_numbers_it_still_opens(tmp_path: Path, count: int) -> None:
    made = three(tmp_path)
    found = [one for one in made.contestants if one.status or one.name == "first"]
    text = words(Page(render(compare(found if count else found[1:]))))
    assert "Nothing to compare" in text
    assert "failed: " in text


def test_what_a_grid_says_over_its_seeds_stands_first(tmp_path: Path) -> None:
    row = {"overrides": "r=4 <b>", "points": [0, 1], "seeds": 2, "model": "tuned", "versus": "base", "set": "test",
           "split": "test", "evaluator": "e", "metric": "m", "value": 0.2, "low": -0.6, "high": 0.9}  # fmt: skip
    text = words(Page(render(three(tmp_path), [row, row | {"split": "validation"}])))
    assert text.index("r=4 <b>teste.mtuned") < text.index("exact_match on test") < text.index("Who and at what cost")
    assert "tuned - base2+.20 [-.60,+.90]" in text
    assert text.count("r=4") == 1


def test_equal_models_agree_everywhere(tmp_path: Path) -> None:
    paths = [str(run(tmp_path / name, {"tuned": right(10)})) for name in "ab"]
    text = words(Page(render(compare(contestants(paths)))))
    assert "On none of 40 rows of test, by exact_match." in text
    assert "Nothing: the configs are the same." in text
    assert "not provenB b exact_match on test +.00" in text
