"""Programs through the command line: stages, their word together, and going on after a signal."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import SHORT
from tests.cli.test_interrupted import LONG, finish, logged, start, status, wait_for
from tuneforge import cli

CURVE = ("program=data_curve", "program.shares=[0.25,0.5,1.0]", "early_stopping.patience=null")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished learning curve of three short runs."""
    place = tmp_path_factory.mktemp("curve")
    code, said = finish(start(place, *SHORT, *CURVE, "output_dir=curve"))
    assert code == 0, said
    (place / "curve" / "said.txt").write_text(said, encoding="utf-8")
    return place / "curve"


def test_every_stage_is_a_run_on_a_nested_share(curve: Path) -> None:
    stages = sorted((curve / "stages").iterdir())
    assert [s.name for s in stages] == ["1-0.25", "2-0.5", "3-1"]
    rows = [read(s / "run.json")["data"]["rows"] for s in stages]
    assert rows == sorted(set(rows))
    assert rows[1] == pytest.approx(rows[2] / 2, abs=12)
    assert all((s / name).exists() for s in stages for name in ("report.html", "metrics.json", "model"))
    assert len({json.dumps(read(s / "run.json")["data"]["sets"]) for s in stages}) == 1
    assert "program: null" in (stages[0] / "config.yaml").read_text(encoding="utf-8")


def test_the_program_leaves_its_word_and_a_report(curve: Path) -> None:
    record, program = read(curve / "run.json"), read(curve / "program.json")
    assert record["status"] == "finished"
    assert [s["name"] for s in record["stages"]] == ["0.25", "0.5", "1"]
    assert record["conclusion"]["decision"] == program["decision"]
    assert [p["rows"] for p in program["points"]] == [
        read(s / "run.json")["data"]["rows"] for s in sorted((curve / "stages").iterdir())
    ]
    page = (curve / "report.html").read_text(encoding="utf-8")
    assert "Learning curve" in page
    assert program["text"] in page.replace("&#43;", "+")
    assert f"data_curve {program['decision'].upper()}" in (curve / "said.txt").read_text(encoding="utf-8")
    assert {row["stage"] for row in read(curve / "metrics.json")["rows"]} == {"0.25", "0.5", "1"}


def test_a_program_that_is_stopped_goes_on(curve: Path, tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, *CURVE, "output_dir=curve")
    second = tmp_path / "curve" / "stages" / "2-0.5"
    first = tmp_path / "curve" / "stages" / "1-0.25"
    wait_for(lambda: logged(first) >= 3, process)
    process.send_signal(signal.SIGINT)
    code, _ = finish(process)
    assert code == 130
    assert (status(tmp_path / "curve"), status(first)) == ("preempted", "preempted")
    assert not (second / "run.json").exists()
    # The rest is short: what is finished is taken from the finished curve.
    for name in ("2-0.5", "3-1"):
        shutil.rmtree(tmp_path / "curve" / "stages" / name)
        shutil.copytree(curve / "stages" / name, tmp_path / "curve" / "stages" / name)
    code, said = finish(start(tmp_path, "resume=curve"))
    assert code == 0, said
    assert read(first / "run.json")["status"] == "finished"
    assert read(first / "run.json")["training"]["resumed_from"] > 0
    assert len(read(tmp_path / "curve" / "program.json")["points"]) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["program.shares=[0.5,1.0]"], "at least three growing shares are needed"),
        (["program.shares=[0.5,0.25,1.0]"], "at least three growing shares are needed"),
        (["program.shares=[-1.0,0.5,1.0]"], "a share is above 0"),
        (["program.worth=0.0"], "program.worth=0.0 must be above 0"),
        (["~test.helpdesk_test"], "measures on a test set of role target"),
        (["program.share=[1]"], "Did you mean 'shares'"),
        (["-m", "seed=1,2"], "cannot be a point of a grid"),
    ],
)
def test_what_makes_no_curve_is_refused(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, "program=data_curve"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


def test_a_finished_program_and_changes_are_refused_on_resume(curve: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([f"resume={curve}"]) == 2
    assert "all stages of the program are finished" in capsys.readouterr().err
    assert cli.main([f"resume={curve}", "trainer.max_steps=9"]) == 2
    assert "a program goes on as it began" in capsys.readouterr().err


def test_a_stage_that_fails_ends_the_program_with_its_code(tmp_path: Path) -> None:
    words = [*SHORT, *CURVE, "adapter=lora", "adapter.targets=[no_such_layer]", "output_dir=curve"]
    code, said = finish(start(tmp_path, *words))
    assert code == 2
    assert "stage 0.25 ended with exit code 2" in said
    assert "no_such_layer" in said
    assert status(tmp_path / "curve") == "failed"
    assert (tmp_path / "curve" / "report.html").is_file()
