"""The data sets that ship with TuneForge: which grammar, part and seed each is made of.

`python -m tuneforge.synthetic.bundled` writes them again, byte for byte; a test holds the files to this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tuneforge.rows import Row
from tuneforge.synthetic.template import Part, Template

FOLDER = Path(__file__).parent.parent / "bundled"
GENERAL = [
    "copy",
    "copy_marks",
    "reverse",
    "sort",
    "capitals",
    "nth",
    "count",
    "add",
    "compare",
    "owner",
    "where",
    "about",
]

SETS = {
    "helpdesk/train.jsonl": Template(grammar="helpdesk", part=Part.train, seed=11, count=1000),
    "helpdesk/validation.jsonl": Template(grammar="helpdesk", part=Part.validation, seed=12, count=120),
    "helpdesk/test.jsonl": Template(grammar="helpdesk", part=Part.test, seed=13, count=250),
    "general/replay.jsonl": Template(grammar="general", part=Part.train, seed=21, count=6000, tasks=GENERAL),
    "general/test.jsonl": Template(grammar="general", part=Part.test, seed=23, count=800, tasks=GENERAL),
    "safety/replay.jsonl": Template(grammar="safety", part=Part.train, seed=31, count=1000),
    "safety/test.jsonl": Template(grammar="safety", part=Part.test, seed=33, count=300),
}


def content(name: str) -> str:
    """The file's text: one JSON object a line."""
    lines = []
    for row in SETS[name].rows(SETS[name].seed or 0):
        assert isinstance(row, Row)
        lines.append(json.dumps(_with_preference(row.columns), ensure_ascii=False) + "\n")
    return "".join(lines)


def _with_preference(columns: Mapping[str, str]) -> dict[str, str]:
    """Every row serves strategy=dpo: where the grammar names no worse answer, it is the right one in a sentence."""
    if "rejected" in columns:
        return dict(columns)
    right = columns["completion"]
    return {**columns, "chosen": right, "rejected": f"The answer is {right}."}


def write(folder: Path = FOLDER) -> None:
    """Write all files."""
    for name in SETS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content(name), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write()
