"""Data sets of the library datasets: saved folders, classes, media, and what is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tuneforge.composition import compose
from tuneforge.data.hub import Hub
from tuneforge.errors import ConfigError

datasets = pytest.importorskip("datasets")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["no", "yes"]),
            "tags": datasets.List(datasets.ClassLabel(names=["O", "B"])),
            "inner": {"kind": datasets.ClassLabel(names=["a", "b"]), "n": datasets.Value("int32")},
            "photo": datasets.Image(),
        }
    )
    rows = [
        {"text": "x", "label": 1, "tags": [0, 1], "inner": {"kind": 1, "n": 3}, "photo": None},
        {"text": "y", "label": 0, "tags": [], "inner": {"kind": 0, "n": 4}, "photo": None},
        {"text": "z", "label": -1, "tags": None, "inner": None, "photo": None},
    ]
    made = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict({"train": made, "test": made.select([0])}).save_to_disk(str(tmp_path / "saved"))
    made.save_to_disk(str(tmp_path / "single"))
    return tmp_path


def test_classes_by_name_and_no_media(folder: Path, read: Any) -> None:
    found = read(Hub(path=str(folder / "saved")))
    assert [(row.line, dict(row.columns)) for row in found.rows] == [
        (1, {"text": "x", "label": "yes", "tags": ["O", "B"], "inner": {"kind": "b", "n": 3}}),
        (2, {"text": "y", "label": "no", "tags": [], "inner": {"kind": "a", "n": 4}}),
        (3, {"text": "z", "label": None, "tags": None, "inner": None}),
    ]
    assert found.notes[0]["text"].endswith("photo not read in 3 rows: images and sound are no text")
    assert len(read(Hub(path=str(folder / "saved"), split="test")).rows) == 1
    assert len(read(Hub(path=str(folder / "single"), split="whatever")).rows) == 3
    assert Hub(path=str(folder / "single")).fingerprint() == Hub(path=str(folder / "single")).fingerprint() != ""


def test_a_saved_folder_is_a_choice(folder: Path) -> None:
    assert compose(["model=tiny", f"data={folder}/saved"]).data["saved"].name == "hub"


def test_what_is_not_there(folder: Path, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=r"split=tset: .* has train, test\. Did you mean 'test'\?"):
        read(Hub(path=str(folder / "saved"), split="tset"))
    with pytest.raises(ConfigError, match=r"was not saved by datasets; to read its files say data="):
        read(Hub(path=str(folder)))
    with pytest.raises(ConfigError, match=r"path=owner/no_such_set: .*HF_HUB_OFFLINE=1 forbids it"):
        read(Hub(path="owner/no_such_set"))
    with pytest.raises(ConfigError, match=r"data\.hub: path: name a data set of the hub"):
        compose(["model=tiny", "data=hub"])
    with pytest.raises(ConfigError, match="subset and revision have no meaning"):
        compose(["model=tiny", f"data={folder}/saved", "data.saved.subset=x"])
