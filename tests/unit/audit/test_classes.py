"""Label noise, balance, kinds of task, coverage and agreement, on planted faults and on real sets."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuneforge.adapter.full import Full
from tuneforge.audit import agreement, balance, coverage, label_noise, tasks
from tuneforge.audit.finding import Finding, Severity
from tuneforge.audit.subject import Subject
from tuneforge.context import RunContext
from tuneforge.model.hf import Hf
from tuneforge.optimizer.adamw import AdamW
from tuneforge.rows import HeldOut, Row
from tuneforge.scheduler.constant import Constant
from tuneforge.sections import Annotations, Audit
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft
from tuneforge.transform.exact_dedup import ExactDedup

Audited = Callable[..., Subject]


@pytest.fixture
def audited(tmp_path: Path) -> Audited:
    """Training rows, and the rows of test set `held`; keywords set fields of the run."""

    def make(train: Sequence[Row], held: Sequence[Row] = (), **fields: Any) -> Subject:
        run = Run(model=Hf(path="x"), strategy=Sft(), adapter=Full(), optimizer=AdamW(), scheduler=Constant(), **fields)
        sets = [HeldOut("held", "test", "target", list(held))] if held else []
        return Subject(run, list(train), sets, RunContext(run, tmp_path))

    return make


TOPICS = {
    "ships": ["sail", "harbour", "anchor", "mast", "deck", "crew", "wave", "tide"],
    "baking": ["flour", "oven", "dough", "sugar", "butter", "cake", "bread", "yeast"],
    "music": ["guitar", "chord", "tune", "drum", "song", "choir", "violin", "note"],
    "football": ["goal", "striker", "penalty", "pitch", "keeper", "match", "score", "league"],
}
COMMON = ["the", "a", "of", "and", "with", "for", "in", "my", "one", "two", "very", "old", "new", "good"]


def topical(sizes: dict[str, int], seed: int = 0, start: int = 0) -> list[Row]:
    rng = random.Random(seed)
    texts = [
        (" ".join(rng.choice(TOPICS[name] if rng.random() < 0.5 else COMMON) for _ in range(12)), name)
        for name, size in sizes.items()
        for _ in range(size)
    ]
    return [row(start + n, text=text, label=name) for n, (text, name) in enumerate(texts, 1)]


def row(line: int, **columns: Any) -> Row:
    return Row(columns=columns, file="a", line=line, source="data.a")


def only(found: Any) -> Finding:
    (one,) = found
    assert isinstance(one, Finding)
    return one


# ---------------------------------------------------------------- label noise


@pytest.mark.parametrize("shape", ["label", "completion"])
@pytest.mark.parametrize(("share", "precision", "recall"), [(0.05, 0.9, 0.9), (0.2, 0.9, 0.85)])
def test_planted_flips_are_found(shape: str, share: float, precision: float, recall: float, audited: Audited) -> None:
    rows = topical(dict.fromkeys(TOPICS, 200))
    rng, names, flipped = random.Random(1), sorted(TOPICS), set()
    for index in rng.sample(range(len(rows)), round(share * len(rows))):
        other = rng.choice([name for name in names if name != rows[index].columns["label"]])
        rows[index] = row(index + 1, text=rows[index].columns["text"], label=other)
        flipped.add(rows[index].place)
    if shape == "completion":
        rows = [row(int(r.line), prompt=r.columns["text"], completion=f" {r.columns['label']}") for r in rows]
    found = only(label_noise.check(audited(rows)))
    doubtful = {str(one["place"]) for one in found.places}
    assert found.severity is Severity.warning
    assert found.count == len(doubtful)
    assert len(doubtful & flipped) >= precision * len(doubtful)
    assert len(doubtful & flipped) >= recall * len(flipped)
    assert "rather '" in found.rows[0].text


def test_clean_labels_are_left_alone(audited: Audited) -> None:
    found = only(label_noise.check(audited(topical(dict.fromkeys(TOPICS, 100)))))
    assert (found.severity, found.count) == (Severity.ok, 0)


def test_labels_that_words_cannot_tell_are_not_judged(audited: Audited) -> None:
    rng = random.Random(0)
    rows = [row(n, text=" ".join(rng.choices(COMMON, k=9)), label=rng.choice("ab")) for n in range(300)]
    found = only(label_noise.check(audited(rows)))
    assert found.severity is Severity.ok
    assert "are not judged: words alone tell the 2 classes too badly" in found.text
    documents = [row(n, text="a document") for n in range(200)]
    assert "are not judged" in only(label_noise.check(audited(documents))).text


def test_confident_joint_of_the_paper() -> None:
    """Thresholds are the mean self-confidences; a row counts once, for the most probable class above its threshold."""
    import numpy as np

    probable = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.05, 0.95]])
    found = label_noise.confident(probable, [0, 0, 0, 1, 1, 1])
    assert found.doubtful.tolist() == [False, False, True, False, False, False]
    assert found.better[2] == 1
    assert found.margin[2] == pytest.approx(0.8)
    assert found.share == pytest.approx(1 / 6)


# ---------------------------------------------------------------- balance


def test_uneven_classes(audited: Audited) -> None:
    found = only(balance.check(audited(topical({"ships": 120, "baking": 60, "music": 3}))))
    assert found.severity is Severity.warning
    assert "3 classes of 3 to 120 rows, largest to smallest 40.0; 1 has fewer than 5 rows: 'music'" in found.text
    assert found.bars[0] == ("ships", 120.0)
    assert len(found.rows) == 3
    even = only(balance.check(audited(topical({"ships": 40, "baking": 60}))))
    assert (even.severity, even.action) == (Severity.ok, "")


def test_classes_that_only_one_side_has(audited: Audited) -> None:
    train = topical({"ships": 60, "baking": 60, "music": 60})
    found = list(balance.check(audited(train, topical({"ships": 30, "football": 30}))))
    texts = [f.text for f in found if f.severity is Severity.warning]
    assert any("1 classes of test.held have no training row: 'football'" in text for text in texts)
    assert any("2 of 3 classes do not occur in the 60 rows of test.held: 'baking', 'music'" in text for text in texts)
    few = list(balance.check(audited(train, topical({"ships": 4}))))
    assert Severity.warning not in {f.severity for f in few}


def test_one_group_dominates(audited: Audited) -> None:
    def grouped(sizes: dict[str, int]) -> list[Row]:
        return [Row(columns={"text": "x"}, group=name) for name, size in sizes.items() for _ in range(size)]

    big = only(balance.check(audited(grouped({"anna": 60, **{f"u{n}": 2 for n in range(20)}}))))
    assert big.severity is Severity.warning
    assert "the largest, 'anna', has 60%" in big.text
    assert only(balance.check(audited(grouped({"a": 10, "b": 10})))).severity is Severity.ok


def test_nothing_to_balance(audited: Audited) -> None:
    found = only(balance.check(audited([row(n, text=f"document {n}") for n in range(50)])))
    assert found.text == "the training rows have neither classes nor groups"


# ---------------------------------------------------------------- kinds of task


def test_kinds_of_task_and_what_the_target_asks_beyond_them(audited: Audited) -> None:
    train = [row(n, prompt=f"Translate to French: word {n}", completion="mot") for n in range(50)]
    train += [row(n + 50, prompt=f"Why is it {n}?", completion="So.") for n in range(50)]
    held = [row(n, prompt=f"Summarize the text: it rained {n}", completion="Rain.") for n in range(20)]
    spread, scarce = tasks.check(audited(train, held))
    assert dict(spread.bars) == {"translation": 50.0, "open_qa": 50.0}
    assert spread.numbers["effective"] == pytest.approx(2)
    assert "test.held asks for summarization in 100% of its 20 rows, training in 0.0% of 100" in scarce.text
    assert scarce.severity is Severity.warning
    assert only(tasks.check(audited(train, train[:40]))).severity is Severity.ok
    assert "no instructions" in only(tasks.check(audited([row(1, text="x")]))).text


# ---------------------------------------------------------------- coverage


def test_a_topic_that_training_lacks_is_named(audited: Audited) -> None:
    train = topical({"ships": 300, "baking": 300, "music": 4})
    found = only(coverage.check(audited(train, topical({"ships": 60, "baking": 60, "music": 60}, seed=1, start=900))))
    assert found.severity is Severity.warning
    assert found.numbers["distance"] == pytest.approx(1 / 3, abs=0.08)
    assert {word.strip() for shown in found.rows for word in shown.text.split(":")[0].split(",")} <= set(
        TOPICS["music"]
    )
    assert 50 <= found.count <= 70


@pytest.mark.parametrize("seed", range(3))
def test_random_splits_do_not_alarm(seed: int, audited: Audited) -> None:
    rows = topical(dict.fromkeys(TOPICS, 150))
    random.Random(seed).shuffle(rows)
    found = only(coverage.check(audited(rows[100:], rows[:100], seed=seed)))
    assert found.severity is not Severity.warning


def test_replay_from_another_source_thins_nothing_out(audited: Audited) -> None:
    mine = topical({"ships": 100, "baking": 100})
    replay = [replace(one, source="data.replay") for one in topical({"music": 800}, seed=2, start=5000)]
    held = topical({"ships": 60, "baking": 60}, seed=1, start=900)
    found = only(coverage.check(audited([*mine, *replay], held)))
    assert found.severity is not Severity.warning
    assert "held and data.a are about" in found.text
    found = only(coverage.check(audited([*mine, *(replace(one, source="data.a") for one in replay)], held)))
    assert found.severity is Severity.warning
    assert "held and training are about" in found.text


def test_small_sets_are_not_compared(audited: Audited) -> None:
    found = only(coverage.check(audited(topical({"ships": 60}), topical({"music": 9}))))
    assert found.severity is Severity.ok
    assert "not compared" in found.text


@pytest.mark.shared
@pytest.mark.parametrize("name", ["alpaca", "gsm8k", "banking77"])
def test_random_splits_of_real_sets_do_not_alarm(name: str, shared: Path, audited: Audited) -> None:
    data = shared / "data"
    if name == "alpaca":
        read = json.loads((data / "alpaca_demo/alpaca_en_demo.json").read_text(encoding="utf-8"))
        texts = [one["instruction"] for one in read]
    elif name == "gsm8k":
        with gzip.open(data / "gsm8k/train.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["question"] for line in lines][:1500]
    else:
        with (data / "banking77/train.csv").open(encoding="utf-8", newline="") as lines:
            texts = [one["text"] for one in csv.DictReader(lines)]
    rows = [row(n, prompt=text, completion="x") for n, text in enumerate(texts, 1)]
    random.Random(5).shuffle(rows)
    rows = rows[:1500]
    assert only(coverage.check(audited(rows[200:], rows[:200]))).severity is not Severity.warning


# ---------------------------------------------------------------- agreement


def annotated(labels: list[list[str]]) -> list[Row]:
    return [row(n, text=f"text {n}", label=label) for n, label in enumerate(labels, 1)]


def test_lists_are_annotators_only_where_the_config_says_so(audited: Audited) -> None:
    rows = annotated([["a", "a"], ["b", "b"], ["a", "b"], ["b", "a"]] * 5)
    silent = only(agreement.check(audited(rows)))
    assert silent.severity is Severity.ok
    assert "one person's" in silent.text
    found = only(agreement.check(audited(rows, audit=Audit(annotations=Annotations.lists))))
    assert found.severity is Severity.warning
    assert found.numbers["cohen"] == pytest.approx(0)
    assert "annotators differ on 10 of 20 texts" in found.text
    assert found.rows[0].text.startswith("'a' 1, 'b' 1: text 3")
    good = only(agreement.check(audited(rows[:2], audit=Audit(annotations=Annotations.lists))))
    assert (good.severity, good.numbers["alpha"]) == (Severity.ok, 1.0)


def test_rows_of_one_text_by_the_source_of_each_annotator(audited: Audited) -> None:
    said = [("x", "anna", "a"), ("x", "ben", "a"), ("y", "anna", "a"), ("y", "ben", "b"), ("z", "anna", "b")]
    rows = [Row(columns={"text": t, "label": label}, source=f"data.{who}") for t, who, label in said]
    rows = [*rows, Row(columns={"text": "z", "label": "b"}, source="data.ben")]
    by = Audit(annotations=Annotations.rows)
    found = only(agreement.check(audited(rows, audit=by)))
    assert found.numbers["cohen"] == pytest.approx(agreement.cohen([("a", "a"), ("a", "b"), ("b", "b")]))
    lost = only(agreement.check(audited(rows, audit=by, transform={"exact_dedup": ExactDedup()})))
    assert "transform.exact_dedup has dropped rows in which annotators agree" in lost.text
    nobody = only(agreement.check(audited([row(1, text="only one", label="a")], audit=by)))
    assert "no text has labels of several annotators" in nobody.text
