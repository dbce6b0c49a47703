"""What `tuneforge evaluate` measures: the sets that a run or the command names, and nothing bundled besides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tuneforge import cli, saved
from tuneforge.composition import Composed, compose_config
from tuneforge.errors import ConfigError
from tuneforge.measuring import measuring
from tuneforge.record import Record

OWN = ["data=mine.jsonl", "test=asked.jsonl", "evaluator=token_f1", "evaluator.token_f1.max_tokens=40"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files of rows, and a run that was configured with two of them."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "asked", "other"):
        rows = ({"prompt": f"{name} {n} plus 1", "completion": str(n + 1)} for n in range(20))
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    composed = compose_config([*OWN, "output_dir=run", "seed=7"])
    Path("run").mkdir()
    saved.save(Path("run"), composed)
    Record.start(composed.run, Path("run"), [], command="run", overrides=OWN, choices=composed.choices)
    return tmp_path


def test_the_run_that_had_to_be_beaten_may_be_gone() -> None:
    config = Path("run/config.yaml")
    text = config.read_text()
    assert "against: null" in text
    config.write_text(text.replace("against: null", "against: gone"))
    assert of_run().run.gate.against == "gone"
    with pytest.raises(ConfigError, match=r"gate\.against=gone: there is no such run directory"):
        compose_config([*OWN, "gate.against=gone"])


def of_run(*overrides: str) -> Composed:
    composed = measuring(["run"], overrides, ())
    assert composed.run.output_dir != "run"
    return composed


def sets(composed: Composed) -> tuple[list[str], list[str], list[str]]:
    run = composed.run
    return list(run.data), list(run.validation), list(run.test)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["test=asked.jsonl"], ([], [], ["asked"])),
        (["test=asked.jsonl", "evaluator=selective"], ([], [], ["asked"])),
        (["test=asked.jsonl", "validation=other.jsonl"], ([], ["other"], ["asked"])),
        (["test=asked.jsonl", "+data=mine.jsonl"], (["mine"], ["share"], ["asked"])),
        (["data=mine.jsonl"], (["mine"], ["share"], ["share"])),
        ([], ([], [], ["helpdesk_test", "general_test"])),
        (["+test=asked.jsonl"], ([], [], ["helpdesk_test", "general_test", "asked"])),
        (["experiment=helpdesk"], (["helpdesk", "replay"], ["helpdesk_validation"], ["helpdesk_test", "general_test"])),
    ],
)
def test_a_model_is_measured_on_what_is_named(
    overrides: list[str], expected: tuple[list[str], list[str], list[str]]
) -> None:
    assert sets(measuring(["tiny"], overrides, ())) == expected


def test_no_bundled_row_is_read_beside_a_named_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "tiny", "test=asked.jsonl", "evaluator=token_f1", "output_dir=measured"]) == 0
    reports = json.loads(Path("measured/data/audit.json").read_text())["sources"]
    assert [(report["key"], report["read"]) for report in reports] == [("asked", 20)]
    assert "bundled" not in capsys.readouterr().out


@pytest.mark.parametrize("override", ["output_dir=elsewhere", "seed=3", "test.asked.limit=5", "evaluator=exact_match"])
def test_a_run_keeps_its_own_sets(override: str) -> None:
    assert sets(of_run(override)) == (["mine"], ["share"], ["asked"])


def test_values_go_on_top_of_the_config_of_a_run() -> None:
    run = of_run("seed=3", "test.asked.limit=5", "output_dir=elsewhere").run
    assert (run.seed, run.test["asked"].limit, run.output_dir) == (3, 5, "elsewhere")
    assert run.evaluator["token_f1"].max_tokens == 40


def test_evaluators_of_a_run_are_replaced_or_joined() -> None:
    other = of_run("evaluator=label", "evaluator.label.labels=[yes,no]", "evaluator.label.sets=[asked]")
    assert other.types["evaluator.label"] == "evaluator/label"
    assert "evaluator.token_f1" not in other.types
    assert other.run.evaluator["label"].labels == ["yes", "no"]  # type: ignore[attr-defined]
    joined = of_run("+evaluator=exact_match")
    assert list(joined.run.evaluator) == joined.choices["evaluator"] == ["token_f1", "exact_match"]
    named = of_run("+evaluator@evaluator.short=rouge", "evaluator.short.max_tokens=9")
    assert named.run.evaluator["short"].max_tokens == 9


def test_a_named_set_takes_the_place_of_the_sets_of_a_run() -> None:
    assert sets(of_run("test=other.jsonl")) == ([], [], ["other"])
    assert sets(of_run("validation=other.jsonl")) == (["mine"], ["other"], ["asked"])


def test_a_named_set_is_measured_as_the_run_was() -> None:
    run = of_run("test=other.jsonl").run
    assert (list(run.evaluator), run.evaluator["token_f1"].max_tokens) == (["token_f1"], 40)
    assert of_run("test=other.jsonl", "evaluator.token_f1.max_tokens=9").run.evaluator["token_f1"].max_tokens == 9
    assert list(of_run("test=other.jsonl", "evaluator=rouge").run.evaluator) == ["rouge"]
    assert list(measuring(["run", "tiny"], ["experiment=helpdesk"], ()).run.evaluator) == ["token_f1"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("strategy=dpo", "strategy=…: run is evaluated as it was configured"),
        ("+test=other.jsonl", "name other sets with test=FILE"),
        ("~test.asked", "~test=…"),
        ("evaluator.token_f1.sets=[nope]", "no set 'nope'"),
        ("sede=3", "Did you mean 'seed'?"),
    ],
)
def test_what_cannot_change_is_said(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _ = of_run(override).run
    assert said in str(caught.value)
