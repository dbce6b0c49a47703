"""Personal data that is planted everywhere in the files of a run is nowhere in its directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuneforge import cli

CANARIES = (
    "canary.bird@posteo.de",
    "(415) 867-5309",
    "4539 5787 6362 1486",
    "84.12.33.9",
    "Canarina Birdsong",
    "4711-8834",
)
SAID = (
    "Mail canary.bird@posteo.de, call (415) 867-5309, pay with card 4539 5787 6362 1486 from 84.12.33.9. "
    "My name is Canarina Birdsong, MRN 4711-8834."
)
SHORT = ("trainer.max_steps=2", "batch.size=4", "baseline.rows=4")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def planted(start: int, count: int) -> list[dict[str, Any]]:
    return [
        {"system": SAID, "prompt": f"Number {n}? {SAID}", "completion": f"It is {n}. {SAID}", "note": SAID}
        for n in range(start, start + count)
    ]


@pytest.fixture
def planted_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    broken = [
        {"prompt": SAID, "completion": 7},
        {"prompt": [{"role": SAID, "content": SAID}], "completion": SAID},
        {"prompt": SAID},
    ]
    write(tmp_path / "train.jsonl", [*planted(0, 120), *broken, {"prompt": SAID, "completion": SAID * 60}])
    write(tmp_path / "test.jsonl", planted(500, 12))
    return tmp_path


def bare(folder: Path) -> dict[str, list[str]]:
    """File of the run directory: canaries that stand in it, whatever their spaces."""
    found = {}
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".safetensors":
            text = file.read_bytes().decode("utf-8", "replace")
            if there := [canary for canary in CANARIES if canary in text or canary.replace(" ", "") in text]:
                found[file.relative_to(folder).as_posix()] = there
    return found


def run(*words: str) -> int:
    return cli.main(["data=train.jsonl", "test=test.jsonl", "output_dir=run", *SHORT, *words])


def test_a_whole_run_leaves_no_canary(planted_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "transform=[exact_dedup,length,deidentify]",
        "transform.length.max_answer_words=300",
        "max_quarantined=0.2",
    )
    assert run(*words) == 0
    assert bare(planted_files / "run") == {}
    said = capsys.readouterr().out
    assert not [canary for canary in CANARIES if canary in said]
    reports = json.loads((planted_files / "run" / "data" / "audit.json").read_text())["transforms"]
    by_set = {report["set"]: report for report in reports if report["name"] == "deidentify"}
    assert by_set["train"]["changed"] + by_set["validation.share"]["changed"] == 120
    assert by_set["test.test"]["changed"] == 12
    assert by_set["test.test"]["counts"]["EMAIL"] == 36


def test_without_deidentify_the_canaries_are_there(planted_files: Path) -> None:
    """So that the test above could fail."""
    assert run("max_quarantined=0.2") == 0
    assert "samples.jsonl" in bare(planted_files / "run")


def test_the_audit_masks_what_it_found(planted_files: Path) -> None:
    assert cli.main(["check", "data=train.jsonl", "test=test.jsonl", "output_dir=run", "max_quarantined=0.2"]) == 0
    findings = json.loads((planted_files / "run" / "data" / "audit.json").read_text())["findings"]
    (found,) = [one for one in findings if one["check"] == "personal_data"]
    assert found["severity"] == "warning"
    assert found["count"] == 133
    assert not [canary for canary in CANARIES if canary in json.dumps(found)]
