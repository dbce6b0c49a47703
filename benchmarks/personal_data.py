"""Personal data found by patterns, by presidio and by a tagger of one's own: recall and precision by kind.

    python benchmarks/personal_data.py ../shared/data/presidio_pii [--model FOLDER] [--train FOLDER]

Microsoft's synthetic sentences (presidio-research, MIT). The patterns were written with the first 1,000 rows of
synth_dataset_v2 in sight, and the tagger trains on them; the figures are of the other 500 and of generated_small.
These sentences come from about 200 templates, which both parts share: on other texts figures are lower, those of the
tagger more so than those of the patterns.

`--train FOLDER` writes the training rows and a small BERT with random weights there, and the command that trains it on
one core in about three minutes; `--model FOLDER` measures such a tagger.

A span is found where one of its kind overlaps it (exact: has its ends), and right where it overlaps one of its kind. A
date of birth is a date; an address and a postal code are right for each other, and an address may take in its town.
Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tuneforge.preparation.personal.kinds import KINDS, Span, beside, resolved
from tuneforge.preparation.personal.recogniser import Recogniser
from tuneforge.preparation.personal.tagger import Tagger, words

SEEN = 1000
OURS = {
    "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "IBAN_CODE": "IBAN", "IP_ADDRESS": "IP", "DATE_TIME": "DATE",
    "STREET_ADDRESS": "ADDRESS", "GPE": "LOCATION", "ZIP_CODE": "POSTAL_CODE", "DOMAIN_NAME": "URL",
    "US_DRIVER_LICENSE": "RECORD_NUMBER",
}  # fmt: skip
"""The kinds of both files: ours. What is not here has the same name in both."""
ALIKE = {"DATE_OF_BIRTH": {"DATE"}, "POSTAL_CODE": {"ADDRESS"}, "ADDRESS": {"POSTAL_CODE"}}
"""Found kind: kinds of the files that it answers for too."""

Find = Callable[[Sequence[str]], list[list[Span]]]


class Case(NamedTuple):
    """A sentence with its spans."""

    text: str
    gold: list[Span]


def cases(file: Path) -> list[Case]:
    opened: Any = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as rows:
        return [
            Case(row["full_text"], [
                Span(s["start_position"], s["end_position"], OURS.get(s["entity_type"], s["entity_type"]))
                for s in row["spans"]
            ])
            for row in json.load(rows)
        ]  # fmt: skip


def right(found: Span, gold: Span) -> bool:
    return gold.kind == found.kind or gold.kind in ALIKE.get(found.kind, ())


def overlap(a: Span, b: Span) -> bool:
    return a.start < b.end and b.start < a.end


def share(part: int, whole: int) -> str:
    from tuneforge.evaluation.statistics import wilson

    if not whole:
        return f"{'-':>23}"
    interval = wilson(part, whole)
    return f"{part:>4}/{whole:<4} {part / whole:.2f} [{interval.low:.2f},{interval.high:.2f}]"


def measure(name: str, find: Find, tests: Sequence[Case]) -> float:
    """Print the table of one engine; rows per CPU-second."""
    find([tests[0].text])
    began = time.process_time()
    answers = [resolved(spans) for spans in find([case.text for case in tests])]
    speed = len(tests) / (time.process_time() - began)
    counts: dict[str, Counter[str]] = {what: Counter() for what in ("gold", "found", "exact", "said", "true")}
    for case, spans in zip(tests, answers, strict=True):
        for gold in case.gold:
            there = [span for span in spans if overlap(span, gold) and right(span, gold)]
            counts["gold"][gold.kind] += 1
            counts["found"][gold.kind] += bool(there)
            counts["exact"][gold.kind] += any(s[:2] == gold[:2] for s in there)
        for span in spans:
            kind = "DATE" if span.kind == "DATE_OF_BIRTH" else span.kind
            counts["said"][kind] += 1
            town = {"LOCATION"} if span.kind == "ADDRESS" else set()
            counts["true"][kind] += any(overlap(span, g) and (right(span, g) or g.kind in town) for g in case.gold)
    print(f"\n{name}: {speed:,.0f} rows per CPU-second\n{'kind':14} {'recall':23}  exact  {'precision':23}    F1")
    for kind in sorted(counts["gold"] | counts["said"], key=lambda k: -counts["gold"][k]):
        of = {what: counter[kind] for what, counter in counts.items()}
        recall, precision = of["found"] / max(of["gold"], 1), of["true"] / max(of["said"], 1)
        f1 = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
        exact = f"{of['exact'] / of['gold']:.2f}" if of["gold"] else "-"
        print(f"{kind:14} {share(of['found'], of['gold'])}  {exact:>5}  {share(of['true'], of['said'])}  {f1:.2f}")
    return speed


def tagged(case: Case) -> dict[str, list[str]]:
    """Words and BIO tags, as strategy=token_classification takes them."""
    at = words(case.text)
    tags = ["O"] * len(at)
    for span in case.gold:
        inside = [i for i, (start, end) in enumerate(at) if start < span.end and end > span.start]
        for n, i in enumerate(inside):
            tags[i] = ("I-" if n else "B-") + span.kind
    return {"tokens": [case.text[a:b] for a, b in at], "tags": tags}


def prepare(folder: Path, train: Sequence[Case]) -> None:
    """The training rows, and a BERT of 2.2 M parameters with random weights and a tokenizer of these rows."""
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) + "\n" for row in map(tagged, train) if row["tokens"]]
    (folder / "tagged.jsonl").write_text("".join(lines), encoding="utf-8")
    tokenizer = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    tokenizer.train_from_iterator((case.text for case in train), vocab_size=4000, show_progress=False)
    tokenizer.save_model(str(folder))
    torch.manual_seed(0)
    size = {"hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 6, "intermediate_size": 576}
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512, **size)
    BertModel(config).save_pretrained(folder / "start")
    BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=False, strip_accents=False).save_pretrained(
        folder / "start"
    )
    print(
        f"tuneforge model={folder}/start data={folder}/tagged.jsonl strategy=token_classification transform=[] "
        f"optimizer.learning_rate=1e-3 trainer.max_epochs=25 batch.size=16 early_stopping.patience=null "
        f"'test.share.fraction=0.05' output_dir={folder}/run\n"
        f"python benchmarks/personal_data.py ../shared/data/presidio_pii --model {folder}/run/model"
    )


def false_alarms(data: Path) -> None:
    """Kinds found in sets that hold next to none, with DATE, AGE and URL left out."""
    from tuneforge.preparation.personal.kinds import DIRECT

    recogniser = Recogniser(DIRECT)
    for file, names in (
        ("gsm8k/train.jsonl.gz", ("question", "answer")),
        ("alpaca_demo/alpaca_en_demo.json", ("instruction", "input", "output")),
    ):
        if not (data / file).exists():
            continue
        opened: Any = gzip.open if file.endswith(".gz") else open
        with opened(data / file, "rt", encoding="utf-8") as rows:
            content = json.load(rows) if file.endswith(".json") else [json.loads(line) for line in rows]
        texts = [str(row.get(name) or "") for row in content for name in names]
        began = time.process_time()
        found = Counter(span.kind for text in texts for span in recogniser.spans(text))
        took = time.process_time() - began
        print(f"{file}: {dict(found)} in {len(content):,} rows, {len(content) / took:,.0f} rows per CPU-second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="folder of a tagger")
    parser.add_argument("--train", type=Path, help="folder for what trains one")
    values = parser.parse_args()
    rows = cases(values.data / "synth_dataset_v2.json.gz")
    if values.train:
        prepare(values.train, rows[:SEEN])
        return
    tests = rows[SEEN:] + cases(values.data / "generated_small.json")
    print(f"{len(tests)} rows, {sum(len(case.gold) for case in tests):,} spans")
    core = Recogniser(KINDS)

    def patterns(texts: Sequence[str]) -> list[list[Span]]:
        return [core.candidates(text) for text in texts]

    engines: dict[str, Find] = {"core": patterns}
    try:
        from tuneforge.preparation.personal.presidio import Presidio

        alone = Presidio()
        engines["presidio alone"] = alone.find
        engines["core + presidio"] = both(patterns, alone.find)
    except Exception as absent:
        print(f"presidio is not measured: {absent}")
    if values.model:
        tagger = Tagger(values.model, context())
        engines["model alone"] = tagger.find
        engines["core + model"] = both(patterns, tagger.find)
    speed = {name: measure(name, find, tests) for name, find in engines.items()}
    if "presidio alone" in speed:
        print(f"\nspeed of core / presidio: {speed['core'] / speed['presidio alone']:.1f}")
    false_alarms(values.data.parent)


def both(first: Find, second: Find) -> Find:
    return lambda texts: [beside(*found) for found in zip(first(texts), second(texts), texts, strict=True)]


def context() -> Any:
    from tuneforge.adapter.full import Full
    from tuneforge.context import RunContext
    from tuneforge.model.tiny import Tiny
    from tuneforge.optimizer.adamw import AdamW
    from tuneforge.scheduler.constant import Constant
    from tuneforge.settings import Run
    from tuneforge.strategy.token_classification import TokenClassification

    run = Run(model=Tiny(), strategy=TokenClassification(), adapter=Full(), optimizer=AdamW(), scheduler=Constant())
    return RunContext(run, Path("unused"))


if __name__ == "__main__":
    main()
