"""`tuneforge compare` on the terminal: what it says, writes and refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.comparison.measured import right, rows, run
from tuneforge import cli
from tuneforge.evaluation.figures import with_interval
from tuneforge.evaluation.statistics import newcombe


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "outputs" / "a", {"tuned": right(10)})
    run(tmp_path / "outputs" / "b[bold]", {"tuned": right(30)}, overrides=["seed=7"])
    return tmp_path


def test_it_says_what_differs_and_writes_a_page_that_is_the_latest(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", "outputs/a", "outputs/b[bold]"]) == 0
    said = capsys.readouterr().out
    gain = with_interval(*newcombe(10, 20, 0, 10), sign=True)
    for part in ("against a", "38,801", "1.0 GiB", "b[bold]", gain, "better", "seed  0 | 7",
                 "scores differ on 20 of 40 rows"):  # fmt: skip
        assert part in said
    folder = two / "outputs" / os.readlink(two / "outputs" / "latest")
    assert folder.name.endswith("-compare")
    assert sorted(p.name for p in folder.iterdir()) == ["comparison.csv", "comparison.html", "comparison.json"]


def test_against_another(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "outputs/a", "outputs/b[bold]", "against=b[bold]", "output_dir=here"]) == 0
    assert with_interval(*newcombe(10, 0, 20, 10), sign=True) in capsys.readouterr().out
    assert (two / "here" / "comparison.html").is_file()


def test_what_it_refuses_leaves_nothing_behind(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(two / "outputs" / "c", {"tuned": right(3)}, sets={"test": rows(41)})
    run(two / "outputs" / "d", {"tuned": right(3)}, sets={"news": rows(9, "news")})
    gone = run(two / "outputs" / "e", {"tuned": right(3)}, record={"status": "refused", "error": "a leak"})
    (gone / "metrics.json").unlink()
    for words, said in (
        ([], "name two runs or more"),
        (["outputs/a"], "name two runs or more"),
        (["outputs/a", "outputs/c"], "test.test (exact_match): a and c differ in their rows (40 and 41"),
        (["outputs/a", "outputs/d"], "measured only in a: test.test (exact_match)"),
        (["outputs/a", "outputs/e"], "only a has numbers; e: refused: a leak"),
        (["outputs/a", "outputs/b[bold]", "against=x"], "against=x: is none of a, b[bold]"),
        (["outputs/a", "outputs/b[bold]", "seed=3"], "use against= or output_dir="),
    ):
        assert cli.main(["compare", *words]) == 2
        assert said in capsys.readouterr().err
    assert not (two / "outputs" / "latest").exists()


def test_a_damaged_file_is_an_error_of_its_own(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (two / "outputs" / "a" / "metrics.json").write_text("{")
    assert cli.main(["compare", "outputs/a", "outputs/b[bold]"]) == 1
    assert "outputs/a/metrics.json is damaged" in capsys.readouterr().err
