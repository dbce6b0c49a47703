"""Whole runs through the command line: what they leave, how they end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tuneforge
from tests.cli.conftest import SHORT
from tuneforge import cli


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(path: Path, rows: list[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def pairs(start: int, count: int) -> list[Mapping[str, Any]]:
    return [{"prompt": f"Say number {n}.", "completion": f"It is {n}."} for n in range(start, start + count)]


def test_a_run_leaves_everything_that_the_design_names(finished: Path) -> None:
    expected = ["config.yaml", "types.json", "run.json", "metrics.json", "report.html", "samples.jsonl"]
    expected += ["data/audit.json", "data/quarantine.jsonl", "data/preview.jsonl", "model/model.safetensors", "logs"]
    assert [name for name in expected if not (finished / name).exists()] == []
    record = read(finished / "run.json")
    assert record["status"] == "finished"
    assert {"data", "proof", "baseline", "train", "evaluate", "all"} <= set(record["seconds"])
    assert record["training"]["steps"] == 2
    assert record["data"]["rows"] > 0
    assert record["choices"]["strategy"] == "sft"


def test_metrics_are_tidy(finished: Path) -> None:
    metrics = read(finished / "metrics.json")
    assert metrics["schema"] == 1
    assert metrics["verdict"]["decision"] in ("better", "not proven", "worse")
    keys = {
        "model",
        "stage",
        "evaluator",
        "metric",
        "set",
        "split",
        "role",
        "protocol",
        "versus",
        "value",
        "low",
        "high",
        "n",
        "higher_is_better",
    }
    assert all(keys <= set(row) for row in metrics["rows"])
    assert {row["model"] for row in metrics["rows"]} >= {"base", "tuned"}
    assert {row["role"] for row in metrics["rows"]} == {"target", "general"}
    assert all(row["low"] <= row["value"] <= row["high"] for row in metrics["rows"])


def test_the_preview_shows_the_mask(finished: Path) -> None:
    first = lines(finished / "data" / "preview.jsonl")[0]
    assert "[[" in first["text"]
    assert first["text"].index("assistant") < first["text"].index("[[")


def test_the_model_loads_in_stock_transformers_with_its_template(finished: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    model = AutoModelForCausalLM.from_pretrained(finished / "model")
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], add_generation_prompt=True, return_tensors="pt"
    )
    assert model.generate(**ids, max_new_tokens=2, do_sample=False).shape[1] == ids["input_ids"].shape[1] + 2


@pytest.mark.parametrize(
    "overrides",
    [
        ["strategy=lora", "adapter.r=2"],
        ["strategy=instruction"],
        ["strategy=dpo"],
        ["strategy=dpo", "adapter=lora", "adapter.r=2"],
        ["strategy=sft", "strategy.loss_on=all", "batch.packing=off"],
    ],
    ids=" ".join,
)
def test_every_strategy_runs_on_the_default_job(overrides: list[str], workplace: Path) -> None:
    assert cli.main([*SHORT, *overrides, "output_dir=run"]) == 0
    metrics = read(workplace / "run" / "metrics.json")
    assert metrics["verdict"]["reason"]
    if "strategy=dpo" in overrides:
        assert metrics["rows"][0]["evaluator"] == "preference_accuracy"


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_is_saved_as_peft_loads_it(workplace: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert cli.main([*SHORT, "strategy=lora", "adapter.r=2", "output_dir=run"]) == 0
    folder = workplace / "run" / "model"
    base = AutoModelForCausalLM.from_pretrained(read(folder / "adapter_config.json")["base_model_name_or_path"])
    assert PeftModel.from_pretrained(base, folder).peft_config["default"].r == 2
    assert not (folder / "model.safetensors").exists()


def test_clm_trains_on_text(workplace: Path) -> None:
    (workplace / "notes.txt").write_text("\n\n".join(f"Once there was a cat with number {n}." for n in range(80)))
    words = ["data=notes.txt", "data.notes.unit=paragraph", "strategy=clm", "trainer.max_steps=2", "output_dir=run"]
    assert cli.main([*words, "test.share.fraction=0.2"]) == 0
    rows = read(workplace / "run" / "metrics.json")["rows"]
    assert {row["metric"] for row in rows} == {"bits_per_byte", "perplexity"}
    assert "prompted" not in {row["model"] for row in rows}


def test_a_tuned_model_that_is_the_base_is_not_proven(workplace: Path) -> None:
    assert cli.main([*SHORT, "optimizer.learning_rate=0", "output_dir=run", "optimizer.weight_decay=0"]) == 0
    metrics = read(workplace / "run" / "metrics.json")
    assert metrics["verdict"]["decision"] == "not proven"
    assert all(row["value"] == 0 for row in metrics["rows"] if row["versus"] == "base")


def test_a_strict_gate_fails_on_anything_but_better(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SHORT, "optimizer.learning_rate=0", "optimizer.weight_decay=0", "gate=strict", "output_dir=run"]
    assert cli.main(words) == 4
    assert "not proven" in capsys.readouterr().err
    assert read(workplace / "run" / "run.json")["gate"] == {"level": "strict", "passed": False}
    assert (workplace / "run" / "report.html").is_file()


def test_a_planted_leak_is_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(workplace / "train.jsonl", pairs(0, 60))
    write_rows(workplace / "test.jsonl", [*pairs(100, 10), {"prompt": " Say NUMBER 7.", "completion": "it is 7. "}])
    words = ["data=train.jsonl", "test=test.jsonl", "trainer.max_steps=1", "output_dir=run"]
    assert cli.main(words) == 3
    message = capsys.readouterr().err
    assert "test.jsonl:11" in message
    assert "train.jsonl:8" in message
    assert read(workplace / "run" / "run.json")["status"] == "refused"
    assert (workplace / "run" / "report.html").is_file()
    assert cli.main([*words, "audit.fail_on=[]", "output_dir=accepted"]) == 0


def test_too_many_bad_rows_are_refused_and_few_are_quarantined(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(workplace / "train.jsonl", pairs(0, 100))
    path.write_text(path.read_text() + "{broken\n" * 3, encoding="utf-8")
    words = ["data=train.jsonl", "trainer.max_steps=1", "test.share.fraction=0.1"]
    assert cli.main([*words, "output_dir=few"]) == 0
    assert [row["line"] for row in lines(workplace / "few" / "data" / "quarantine.jsonl")] == [101, 102, 103]
    path.write_text(path.read_text() + "{broken\n" * 10, encoding="utf-8")
    assert cli.main([*words, "output_dir=many"]) == 3
    assert "max_quarantined" in capsys.readouterr().err


def test_validation_rows_without_a_loss_are_quarantined_and_said_and_many_are_refused(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(workplace / "train.jsonl", pairs(0, 60))
    long = {"prompt": "How long is it?", "completion": "word " * 400}
    other = {"prompt": "Which of both?", "chosen": "this one", "rejected": "that one"}
    write_rows(workplace / "held.jsonl", [*pairs(100, 28), long])
    write_rows(workplace / "others.jsonl", [other | {"prompt": f"Which of {i}?"} for i in range(3)])
    words = ["data=train.jsonl", "validation=[held.jsonl,others.jsonl]", "test.share.fraction=0.2"]
    words += ["batch.max_length=128", "trainer.max_steps=1"]
    assert cli.main([*words, "output_dir=few"]) in (0, 4)
    (bad,) = lines(workplace / "few" / "data" / "quarantine.jsonl")
    assert (bad["line"], bad["by"], bad["reason"].split(":")[0]) == (29, "tokens", "too long")
    notes = " ".join(note["text"] for note in read(workplace / "few" / "run.json")["notes"])
    assert "validation.held: 1 of 29 rows have no validation loss: 1 x too long: " in notes
    assert "validation.others: 3 of 3 rows have no validation loss: strategy=sft trains on completion rows" in notes
    capsys.readouterr()
    assert cli.main([*words, "output_dir=many", "max_quarantined=0.03"]) == 3
    assert "1 of 29 rows of validation.held cannot be used by strategy=sft" in capsys.readouterr().err


def test_rows_that_no_strategy_can_use_are_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(workplace / "train.jsonl", pairs(0, 60))
    assert cli.main(["data=train.jsonl", "strategy=dpo", "output_dir=run"]) == 2
    assert "preference" in capsys.readouterr().err
    assert (workplace / "run" / "report.html").is_file()


def test_check_proves_and_trains_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", *SHORT, "output_dir=run"]) == 0
    said = capsys.readouterr().out
    assert "loss on" in said
    assert "stop token <|im_end|> trained in" in said
    assert (workplace / "run" / "report.html").is_file()
    assert not (workplace / "run" / "model").exists()
    assert not (workplace / "run" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('gate.require=["exact_mach>=0.05"]', "gate.require: 'exact_mach>=0.05': no metric 'exact_mach'"),
        ('gate.allow=["exact_match@general_tst>=-0.1"]', "no test set 'general_tst' (general_test, helpdesk_test)."),
        ("gate.metric=exact_match.f1", "gate.metric=exact_match.f1: no such metric (exact_match.exact_match, "),
    ],
)
def test_check_refuses_a_gate_that_asks_what_is_not_measured(
    override: str, message: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", *SHORT, "output_dir=run", override]) == 2
    assert message in capsys.readouterr().err


def test_check_of_a_finished_run_leaves_it_alone(finished: Path, workplace: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*")}
    assert cli.main(["check", str(finished)]) == 0
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*")} == before
    assert (workplace / "outputs" / "latest" / "data" / "preview.jsonl").is_file()


def test_from_repeats_a_run_in_a_fresh_directory(finished: Path, workplace: Path) -> None:
    assert cli.main(["--from", str(finished), "seed=5"]) == 0
    latest = workplace / "outputs" / "latest"
    assert read(latest / "run.json")["lineage"] == {"model": "tiny", "from": str(finished)}
    assert read(latest / "run.json")["seed"] == 5
    assert read(latest / "run.json")["data"]["rows"] == read(finished / "run.json")["data"]["rows"]


def test_a_repeated_run_reaches_the_same_weights(finished: Path, workplace: Path) -> None:
    assert cli.main(["--from", str(finished)]) == 0
    again = workplace / "outputs" / "latest" / "model" / "model.safetensors"
    assert again.read_bytes() == (finished / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--from", "{run}", "strategy=dpo"], "choices cannot change"),
        (["--from", "{run}", "batch.sise=2"], "'size'"),
        (["resume={run}"], "is finished"),
        (["resume={run}", "seed=2"], "seed cannot change"),
        (["resume={run}", "--from", "{run}"], "cannot be combined"),
        (["output_dir={run}"], "holds a run already"),
    ],
)
def test_a_finished_run_is_not_overwritten(
    words: list[str], part: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([word.format(run=finished) for word in words]) == 2
    assert part in capsys.readouterr().err


def test_a_finished_run_trains_on_when_asked_for_more_steps(workplace: Path) -> None:
    assert cli.main([*SHORT, "output_dir=run"]) == 0
    assert cli.main(["resume=run", "trainer.max_steps=3"]) == 0
    record = read(workplace / "run" / "run.json")
    assert (record["training"]["steps"], record["training"]["resumed_from"]) == (3, 2)
    assert record["resumed"] == [{"status": "finished", "with": ["trainer.max_steps=3"]}]


def test_changed_data_is_refused_on_resume(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(workplace / "train.jsonl", pairs(0, 60))
    assert cli.main(["data=train.jsonl", "trainer.max_steps=1", "output_dir=run", "test.share.fraction=0.1"]) == 0
    write_rows(workplace / "train.jsonl", pairs(1, 60))
    assert cli.main(["resume=run", "trainer.max_steps=2"]) == 2
    assert "has changed" in capsys.readouterr().err


def test_python_runs_what_the_command_runs(workplace: Path) -> None:
    outcome = tuneforge.run([*SHORT, "output_dir=run"])
    assert outcome.folder == Path("run")
    assert outcome.record["status"] == "finished"
    assert outcome.metrics == read(workplace / "run" / "metrics.json")


def test_secrets_are_never_written(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneforge.model.tiny import FOLDER

    monkeypatch.setenv("CANARY_TOKEN", "hf_canary_12345")
    words = [f"model={FOLDER}", "model.token=${oc.env:CANARY_TOKEN}", *SHORT, "output_dir=run"]
    assert cli.main(words) == 0
    found = [p for p in (workplace / "run").rglob("*") if p.is_file() and b"hf_canary_12345" in p.read_bytes()]
    assert found == []


def test_evaluate_compares_models_on_the_same_rows(
    finished: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", "tiny", str(finished)]) == 0
    metrics = read(workplace / "outputs" / "latest" / "metrics.json")
    assert {row["model"] for row in metrics["rows"]} == {"tiny", "run"}
    assert {row["versus"] for row in metrics["rows"]} == {"", "tiny"}
    before = {
        (r["set"], r["metric"]): r
        for r in read(finished / "metrics.json")["rows"]
        if (r["model"], r["versus"]) == ("tuned", "")
    }
    for row in metrics["rows"]:
        if row["model"] == "run" and not row["versus"]:
            same = before[row["set"], row["metric"]]
            assert (row["value"], row["protocol"]) == (pytest.approx(same["value"], abs=1e-6), same["protocol"])
    assert "helpdesk_test" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_evaluate_takes_adapters_and_other_sets(workplace: Path) -> None:
    assert cli.main([*SHORT, "strategy=lora", "adapter.r=2", "output_dir=lora"]) == 0
    write_rows(workplace / "more.jsonl", pairs(0, 5))
    assert cli.main(["evaluate", "tiny", "lora/model", "lora", "test=more.jsonl", "evaluator=perplexity"]) == 0
    rows = read(workplace / "outputs" / "latest" / "metrics.json")["rows"]
    values = {r["model"]: r["value"] for r in rows if r["metric"] == "perplexity" and not r["versus"]}
    assert set(values) == {"tiny", "model", "lora"}
    assert values["model"] == pytest.approx(values["lora"])


@pytest.mark.parametrize("path", ["/no/such/model", "."])
def test_evaluate_names_what_is_no_model(path: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", path]) == 2
    assert path in capsys.readouterr().err
