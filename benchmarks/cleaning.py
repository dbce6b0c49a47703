"""What cleaning is worth: held-out loss after training on clean rows, on a dirty copy, and on that copy cleaned.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/cleaning.py ../shared/models/stories260K \\
        ../shared/data/tinystories/tinystories_train800.json.gz

All stories are normalised first, so that the three runs share one test to the character. The last 150 are the test. Of
the others a seeded 60 % are soiled, each in one way: quotes as mojibake and hidden characters, a story cut off in
mid-sentence, a page's boilerplate around it, a sentence over and over. The same model is trained three times with the
same steps; each line gives the bits per byte of the test with a 95 % interval, and what was dropped and changed. Two to
three minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import tuneforge
from tuneforge.rows import Row
from tuneforge.transform.normalize import Normalize

BANNER = "Skip to main content\nHome\nThis website uses cookies. Accept all cookies\n\n{}\n\nShare this: Facebook\n\
Leave a reply\nClick here to subscribe to our newsletter\nAll rights reserved. Privacy policy"


def soiled(text: str, draw: random.Random) -> str:
    """The story with one kind of dirt."""
    kind = draw.randrange(4)
    if kind == 0:
        curly = text.replace("'", "\u2019").replace(" ", " \u200b\x07").replace(".", "\u2026")
        return curly.encode().decode("cp1252", "replace")
    if kind == 1:
        return " ".join(text.split()[: draw.randint(30, 80)]) + " and the"
    if kind == 2:
        return BANNER.format(text)
    first = text.split(".")[0]
    return f"{first}. " * 25


def normal(texts: list[str]) -> list[str]:
    """The texts in the form that the transform gives them."""
    rows = Normalize().apply((Row(columns={"text": text}) for text in texts), SimpleNamespace(counts=Counter()))  # type: ignore[arg-type]
    return [str(row.columns["text"]) for row in rows if isinstance(row, Row)]


def run(name: str, folder: Path, model: str, steps: int, *overrides: str) -> dict[str, Any]:
    """Bits per byte of the tuned model, and what the transforms did."""
    out = folder / name
    tuneforge.run(
        [
            f"model={model}", f"test={folder / 'test.jsonl'}", "strategy=clm", f"trainer.max_steps={steps}",
            "trainer.accelerator=cpu", "optimizer.learning_rate=3e-4", "batch.size=8", "gate=off",
            f"output_dir={out}", *overrides,
        ]
    )  # fmt: skip
    rows = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["rows"]
    audit = json.loads((out / "data" / "audit.json").read_text(encoding="utf-8"))
    found = {r["model"]: r for r in rows if r["metric"] == "bits_per_byte" and not r["versus"] and r["split"] == "test"}
    return {"base": found["base"], "tuned": found["tuned"], "transforms": audit["transforms"]}


def main() -> None:
    """Three runs and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("stories")
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    with gzip.open(given.stories, "rt", encoding="utf-8") as file:
        stories = normal(json.load(file))
    draw = random.Random(0)
    dirty = [soiled(text, draw) if draw.random() < 0.6 else text for text in stories[:-150]]
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, texts in (("clean", stories[:-150]), ("dirty", dirty), ("test", stories[-150:])):
            lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
            (folder / f"{file}.jsonl").write_text(lines, encoding="utf-8")
        chosen = "transform=[normalize,incomplete,quality]"
        found = {
            "clean": run("clean-run", folder, given.model, given.steps, f"data={folder / 'clean.jsonl'}"),
            "dirty": run("dirty-run", folder, given.model, given.steps, f"data={folder / 'dirty.jsonl'}"),
            "cleaned": run("cleaned-run", folder, given.model, given.steps, f"data={folder / 'dirty.jsonl'}", chosen),
        }
    print("\nbits per byte of 150 untouched stories, 95 % interval")
    base = found["dirty"]["base"]
    print(f"  base     {base['value']:.3f} [{base['low']:.3f}, {base['high']:.3f}]")
    for key, result in found.items():
        tuned = result["tuned"]
        print(f"  {key:<8} {tuned['value']:.3f} [{tuned['low']:.3f}, {tuned['high']:.3f}]")
        for report in (report for report in result["transforms"] if report["set"] == "train"):
            dropped = report["before"] - report["after"]
            print(f"             {report['name']}: {dropped} dropped, {report['changed']} changed")


if __name__ == "__main__":
    main()
