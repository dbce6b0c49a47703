"""Whole runs of models with a head: what they print and leave, what stock libraries load, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuneforge import cli
from tuneforge.training.text.classes import load_labels

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # PEFT's own, as it loads
SHORT = ("model=tiny", "trainer.max_steps=6", "batch.size=8", "test.share.fraction=0.3")
KINDS = {"cat": "the cat sleeps on the sofa", "car": "the car drives on the road", "sky": "the sky is blue and wide"}


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path.name


def texts(n: int, several: bool = False) -> list[dict[str, Any]]:
    rows = [(list(KINDS)[i % 3], i) for i in range(n)]
    return [{"text": f"{KINDS[k]} {i}", "label": [k] if several else k} for k, i in rows]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def stock_logits(folder: Path, text: str, auto: str = "AutoModelForSequenceClassification", **more: Any) -> Any:
    """A forward of what was saved, by transformers alone."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    model = getattr(transformers, auto).from_pretrained(str(folder), **more).float().eval()
    with torch.no_grad():
        return model, model(**tokenizer(text, return_tensors="pt")).logits[0].numpy()


def predicted(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]


def agrees(folder: Path, model: Any, logits: Any) -> None:
    """The stock forward of the first sample names the class that the run wrote down."""
    named = predicted(folder)[0]["answers"]["tuned"]
    assert model.config.id2label[int(np.argmax(logits))] == named


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_classification_from_rows_to_a_model_that_stock_libraries_load(
    adapter: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(workplace / "kinds.jsonl", texts(60))
    run = [*SHORT, f"adapter={adapter}", "strategy=classification", "data=kinds.jsonl", "output_dir=run"]
    assert cli.main(run) in (0, 4)
    said = capsys.readouterr().out
    assert any(f"[[{kind}]]" in said for kind in KINDS)
    assert "classes    3: " in said
    assert "stop token" not in said
    assert "Baseline  majority ." in said
    assert "-> linear probe (" in said
    assert "tuned - linear_probe" in said
    metrics = read(workplace / "run" / "metrics.json")
    assert {(r["model"], r["versus"]) for r in metrics["rows"]} == {
        ("linear_probe", ""), ("tuned", ""), ("tuned", "linear_probe")
    }  # fmt: skip
    folder = workplace / "run" / "model"
    more = load_labels(folder)
    assert (folder / "labels.json").exists() == (adapter == "lora")
    model, logits = stock_logits(folder, predicted(workplace / "run")[0]["prompt"], **more)
    assert list(model.config.id2label.values()) == ["car", "cat", "sky"]
    assert model.config.problem_type == "single_label_classification"
    agrees(workplace / "run", model, logits)
    assert cli.main(["evaluate", "run"]) == 0
    again = read(next((workplace / "outputs").rglob("metrics.json")))
    mine = {r["metric"]: r["value"] for r in metrics["rows"] if (r["model"], r["versus"]) == ("tuned", "")}
    assert {r["metric"]: r["value"] for r in again["rows"]} == mine
    assert cli.main(["export", "run", "exporter=merged"]) == 0
    merged, exported = stock_logits(workplace / "run" / "export" / "merged", predicted(workplace / "run")[0]["prompt"])
    assert merged.config.problem_type == "single_label_classification"
    assert merged.config.id2label == model.config.id2label
    assert exported == pytest.approx(logits, abs=0.05)  # bfloat16
    page = (workplace / "run" / "report.html").read_text(encoding="utf-8")
    assert "majority" in page
    assert "Newly" in page


def test_lists_of_classes_are_trained_and_said(workplace: Path) -> None:
    none = [{"text": f"nothing {i}", "label": []} for i in range(3)]
    write(workplace / "kinds.jsonl", [*texts(57, several=True), *none])
    assert cli.main([*SHORT, "strategy=classification", "data=kinds.jsonl", "output_dir=run"]) in (0, 4)
    model, logits = stock_logits(workplace / "run" / "model", predicted(workplace / "run")[0]["prompt"])
    assert model.config.problem_type == "multi_label_classification"
    named = [model.config.id2label[i] for i in np.flatnonzero(logits > 0)]
    assert ", ".join(named) == predicted(workplace / "run")[0]["answers"]["tuned"]


def test_tags_from_rows_to_a_model_that_stock_libraries_load(workplace: Path) -> None:
    words = [["Ann", "lives", "in", "Rome", str(i)] for i in range(60)]
    rows = [{"tokens": w, "tags": ["B-person", "O", "O", "B-place", "O"]} for w in words]
    write(workplace / "tags.jsonl", rows)
    run = [*SHORT, "strategy=token_classification", "data=tags.jsonl", "output_dir=run"]
    assert cli.main(run) in (0, 4)
    metrics = read(workplace / "run" / "metrics.json")["rows"]
    assert {r["evaluator"] for r in metrics} == {"span_f1", "tag_accuracy"}
    # Every word but the number stands in the training rows with one tag.
    assert next(r["value"] for r in metrics if (r["model"], r["metric"]) == ("lexicon", "f1")) == 1.0
    sample = predicted(workplace / "run")[0]
    model, logits = stock_logits(workplace / "run" / "model", sample["prompt"], "AutoModelForTokenClassification")
    assert list(model.config.id2label.values()) == ["B-person", "B-place", "O"]
    first = model.config.id2label[int(logits[0].argmax())]
    assert sample["answers"]["tuned"].split()[0] == ("Ann" if first == "O" else f"Ann/{first}")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"text": f"a {i}", "label": "only"} for i in range(40)],
            "the training rows have 1 class (only)",
        ),
        ([{"text": f"a {i}", "title": "x"} for i in range(40)], "no row of this source is one"),
        (
            [{"text": f"a {i}", "label": ["x", "y"] if i % 2 else "x"} for i in range(40)],
            "2 labels: one class per row is trained",
        ),
    ],
)
def test_rows_that_cannot_be_classified_are_refused(
    rows: list[Mapping[str, Any]], message: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(workplace / "kinds.jsonl", rows)
    run = [*SHORT, "strategy=classification", "strategy.multi_label=false", "data=kinds.jsonl", "output_dir=run"]
    assert cli.main(run) in (2, 3)
    assert message in capsys.readouterr().err


def test_a_test_set_of_unseen_classes_is_refused_by_name(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(workplace / "kinds.jsonl", texts(30))
    write(workplace / "other.jsonl", [{"text": f"a {i}", "label": "cst" if i % 5 == 0 else "cat"} for i in range(40)])
    run = [
        "model=tiny", "strategy=classification", "data=kinds.jsonl", "test=other.jsonl", "output_dir=run"
    ]  # fmt: skip
    assert cli.main(run) == 3
    said = capsys.readouterr().err
    assert "8 of 40 rows of test.other cannot be used by strategy=classification (20.0%" in said
    assert "unseen label: 'cst' stands in no training row. Did you mean 'cat'?" in said
