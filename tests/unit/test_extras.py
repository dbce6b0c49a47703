"""What comes only with an extra is missed before anything is read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tuneforge import cli, plugins

VALUES = {
    "optimizer/schedule_free": ["scheduler=constant"],
    "data/duckdb": ["data.duckdb.path=rows.duckdb", "data.duckdb.table=rows"],
    "data/hub": ["data.hub.path=owner/name"],
    "transform/semantic_dedup": ["transform.semantic_dedup.model=./embedder"],
    "evaluator/json_schema": ["evaluator.json_schema.schema=ticket.json"],
    "evaluator/lm_eval": ["evaluator.lm_eval.tasks=[pick]"],
    "teacher/openai": ["teacher.openai.model=m", "teacher.openai.base_url=http://127.0.0.1:9"],
}
"""What a component refuses to be without."""
NEEDY = {ref: cls for ref, cls in plugins.load().components.items() if cls.extra}


def test_every_extra_names_its_library() -> None:
    assert {"adapter/qlora", "optimizer/adamw_8bit", "optimizer/lion", "optimizer/schedule_free"} < NEEDY.keys()
    assert {"exporter/int8", "logger/tensorboard"} < NEEDY.keys()
    assert all(cls.module for cls in NEEDY.values())
    assert not [ref for ref, cls in plugins.load().components.items() if cls.module and not cls.extra]


@pytest.mark.parametrize("reference", sorted(NEEDY))
def test_an_absent_library_is_one_line_before_anything_is_read(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data cannot be read either, which nobody gets to know."""
    cls, (group, name) = NEEDY[reference], reference.split("/")
    monkeypatch.setitem(sys.modules, cls.module, None)
    monkeypatch.chdir(tmp_path)
    Path("odd.jsonl").write_text("no JSON at all")
    chosen = [f"{group}={name}", *VALUES.get(reference, [])]
    assert cli.main(["data=odd.jsonl", *chosen, "output_dir=run"]) == 2
    said = capsys.readouterr().err
    assert f"{group}={name} needs {cls.module}: pip install 'tuneforge[{cls.extra}]'" in said
    assert "odd.jsonl" not in said
    assert not (tmp_path / "run" / "run.json").exists()


def test_every_absent_library_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("bitsandbytes", "tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["experiment=helpdesk", "adapter=qlora", "logger=tensorboard", "output_dir=run"]) == 2
    said = capsys.readouterr().err
    assert "adapter=qlora needs bitsandbytes" in said
    assert "logger=tensorboard needs tensorboard" in said
