"""What stands around a question: instructions, formats, examples, passages."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.evaluation import subjects
from tuneforge.errors import ConfigError
from tuneforge.evaluation import passages
from tuneforge.evaluation.baseline import instruction, instruction_place
from tuneforge.evaluation.lexical import Ranking
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluation.passages import Passages
from tuneforge.evaluation.prompt import PLAIN, Place, Prompt
from tuneforge.evaluation.shots import Nearest, Pool
from tuneforge.sections import Selection

QUESTION = subjects.row(prompt="Where is my card?", completion="card_arrival")
SHOT = subjects.row(prompt="No cash came", completion="cash")
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + subjects.TEMPLATE


def asked(prompt: Prompt, row: Any = QUESTION, template: str | None = subjects.TEMPLATE) -> str:
    lm = HFLM("prompted", subjects.llama(context=512), subjects.tokenizer(template), prompt)
    return str(lm.tokenizer.decode(lm.prompt(row, 4)))


def test_a_chat_model_is_asked_in_turns() -> None:
    prompt = Prompt(examples=(SHOT,), instruction="Name it {prompt}.", format="Text: {prompt}\nClass:")
    assert asked(prompt) == (
        "<|system|>Name it {prompt}.<|end|>\n<|user|>Text: No cash came\nClass:<|end|>\n<|assistant|>cash<|end|>\n"
        "<|user|>Text: Where is my card?\nClass:<|end|>\n<|assistant|>"
    )
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"}]  # fmt: skip
    found = asked(Prompt(instruction="Be brief.", format="{prompt}!"), subjects.row(messages=messages))
    assert found == "<|system|>Be kind.\n\nBe brief.<|end|>\n<|user|>Hi!<|end|>\n<|assistant|>"


def test_a_base_model_is_asked_in_plain_text() -> None:
    prompt = Prompt(examples=(SHOT,), instruction="Name it.", place=Place.before, format="{prompt}\nClass: ")
    assert asked(prompt, template=None) == (
        "Name it.\n\nNo cash came\nClass: cash\n\nWhere is my card?\nClass: "
    )  # fmt: skip
    lm = HFLM("prompted", subjects.llama(context=512), subjects.tokenizer(None), prompt)
    assert lm.stop_text == "\n\n"
    assert lm.log_probs([QUESTION], "completion")[0, 1:].tolist() == [12, 12]  # bytes are tokens here


def test_where_an_instruction_stands() -> None:
    for template, place in ((subjects.TEMPLATE, Place.system), (NO_SYSTEM, Place.question), (None, Place.before)):
        base = HFLM("base", subjects.llama(), subjects.tokenizer(template))
        assert instruction_place(base, [QUESTION]) is place
    found = asked(Prompt(instruction="Name it.", place=Place.question), template=NO_SYSTEM)
    assert found == "<|user|>Name it.\n\nWhere is my card?<|end|>\n<|assistant|>"


def test_an_instruction_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "system.txt"
    file.write_text("Answer briefly.\n", encoding="utf-8")
    assert (instruction(f"@{file}"), instruction("As text")) == ("Answer briefly.", "As text")
    file.write_bytes(b"caf\xe9")
    with pytest.raises(ConfigError, match=r"system.txt: is not UTF-8 \(byte 3\)"):
        instruction(f"@{file}")
    file.write_text(" \n", encoding="utf-8")
    with pytest.raises(ConfigError, match="the file is empty"):
        instruction(f"@{file}")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        instruction(f"@{tmp_path}/none.txt")


def test_prompts_are_told_apart() -> None:
    ways = [PLAIN, Prompt(instruction="a"), Prompt(instruction="b"), Prompt(instruction="a", place=Place.question),
            Prompt(format="{prompt}?"), Prompt(examples=(SHOT,)), Prompt(examples=(SHOT,), nearest=Nearest((SHOT,), 1)),
            Prompt(passages=Passages(("x",), 1)), Prompt(passages=Passages(("y",), 1))]  # fmt: skip
    base = HFLM("base", subjects.llama(), subjects.tokenizer())
    hashes = [base.asked("prompted", way).describe([QUESTION])["prompt"] for way in ways]
    assert len(set(hashes)) == len(ways)


def test_nearest_shots_are_similar_the_most_similar_last_and_never_the_question_itself() -> None:
    rows = [subjects.row(prompt=p, completion=str(i)) for i, p in enumerate(
        ["my card is lost", "the lost card of mine arrived", "cash", "where is my card", "card"])]  # fmt: skip
    prompt = Prompt(examples=tuple(rows), nearest=Nearest(rows, 2))
    shown = prompt.shots(subjects.row(prompt="where is my card", completion="?"))
    assert [row.columns["completion"] for row in shown] == ["4", "0"]
    assert not prompt.shots(subjects.row(prompt="unheard", completion="?"))
    assert not Prompt(examples=(rows[2],)).shots(subjects.row(prompt="cash", completion="?"))


def test_fixed_shots_are_unlike_each_other_and_of_every_source() -> None:
    run = subjects.run()
    run.baseline.selection = [Selection.fixed]
    rows = [subjects.row(prompt=f"q{i}", completion="abc"[i % 3]) for i in range(30)]
    other = [replace(row, source="data.other") for row in subjects.questions(10)]
    base = HFLM("base", subjects.llama(context=512), subjects.tokenizer())
    held = [subjects.held(rows[:5])]
    (name, found), *more = Pool(run, held, [*rows, *other]).prompts(base, PLAIN, 6, rows[:5])
    assert (name, more) == ("6-shot fixed", [])
    assert Counter(row.source for row in found.examples) == {"data.job": 3, "data.other": 3}
    assert {row.columns["completion"] for row in found.examples if row.source == "data.job"} == {"a", "b", "c"}
    assert not {row.id for row in found.examples} & {row.id for row in rows[:5]}
    again = next(Pool(run, held, [*other, *rows[::-1]]).prompts(base, PLAIN, 6, rows[:5]))
    assert {row.id for row in again[1].examples} == {row.id for row in found.examples}


def by_hand(query: str, texts: list[str], k1: float = 1.2, b: float = 0.75) -> list[float]:
    """BM25 of Robertson and Zaragoza (2009), with the weight that is never negative."""
    split = [re.findall(r"\w+", text.lower()) for text in texts]
    mean = sum(map(len, split)) / len(split)
    asked = {word: sum(word in other for other in map(set, split)) for word in re.findall(r"\w+", query.lower())}
    found = []
    for words in split:
        score = 0.0
        for word, n in asked.items():
            idf = math.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
            tf = words.count(word)
            score += idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * len(words) / mean))
        found.append(score)
    return found


def test_passages_are_whole_paragraphs_of_bounded_length(tmp_path: Path) -> None:
    text = "One  line\nand another.\n\n" + "word " * 50 + "\n\nThe end."
    found = list(passages.cut(text, 60))
    assert found[0] == "One line\nand another."
    assert found[-1].endswith("The end.")
    assert all(len(one) <= 60 and "\n\n" not in one for one in found)
    assert " ".join(" ".join(found).split()) == " ".join(text.split())
    (tmp_path / "a.md").write_text("Tea is hot.", encoding="utf-8")
    (tmp_path / "b.txt").write_text("Ice is cold.\n\nSnow too.", encoding="utf-8")
    (tmp_path / "c.bin").write_bytes(b"\xff")
    assert passages.read(str(tmp_path), 1).texts == ("Tea is hot.", "Ice is cold.\nSnow too.")
    prompt = Prompt(passages=passages.read(str(tmp_path), 1))
    assert asked(prompt, subjects.row(prompt="How cold is ice?", completion="very")) == (
        "<|user|>Passages:\n[1] Ice is cold.\nSnow too.\n\nHow cold is ice?<|end|>\n<|assistant|>"
    )
    assert asked(prompt, subjects.row(prompt="Why?", completion="so")) == "<|user|>Why?<|end|>\n<|assistant|>"


def test_documents_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no text"):
        passages.read(str(tmp_path), 1)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ConfigError, match=r"latin.txt is not UTF-8 \(byte 3"):
        passages.read(str(tmp_path), 1)


@pytest.mark.shared
def test_passages_of_real_documents_rank_as_bm25_by_hand(shared: Path) -> None:
    texts, questions = medquad(shared)
    ranking = Ranking(texts)
    assert len(texts) > 100
    for query in questions[:3]:
        wanted = by_hand(query, texts)
        assert ranking.scores(query).tolist() == pytest.approx(wanted, rel=1e-9)
        best = sorted(range(len(texts)), key=lambda i: -wanted[i])[:3]
        assert ranking.top(query, 3) == best


def medquad(shared: Path) -> tuple[list[str], list[str]]:
    """Passages of the answers in eight files of MedQuAD, and questions on them."""
    import tarfile
    from xml.etree import ElementTree

    texts, questions = [], []
    with tarfile.open(shared / "data" / "medquad" / "medquad_xml.tar.gz") as archive:
        files = [m for m in archive.getmembers() if m.name.endswith(".xml")][:8]
        for file in files:
            tree = ElementTree.parse(archive.extractfile(file))  # type: ignore[arg-type]
            texts += [p for answer in tree.iter("Answer") for p in passages.cut(answer.text or "")]
            questions += [str(q.text) for q in tree.iter("Question")][:1]
    return texts, questions


@pytest.mark.shared
def test_real_questions_are_asked_after_the_nearest_training_rows(shared: Path) -> None:
    import gzip
    import json

    with gzip.open(shared / "data" / "gsm8k" / "train.jsonl.gz", "rt", encoding="utf-8") as file:
        found = [json.loads(line) for _, line in zip(range(150), file, strict=False)]
    rows = [subjects.row(prompt=f"{r['question']}\n", completion=r["answer"]) for r in found]
    run = subjects.run()
    run.baseline.selection = [Selection.nearest]
    base = HFLM("base", subjects.llama(context=4096), subjects.tokenizer(None))
    held, train = rows[:10], rows[10:]
    (name, prompt), = Pool(run, [subjects.held(held)], rows).prompts(base, PLAIN, 3, held)  # fmt: skip
    assert name == "3-shot nearest"
    assert len(prompt.examples) == len(train)
    lm = base.asked("prompted", prompt)
    assert lm.stop_text == "\n\n"  # no answer of this set holds a blank line
    for row in held[:3]:
        scores = by_hand(row.columns["prompt"], [other.columns["prompt"] for other in train])
        best = sorted(range(len(train)), key=lambda i: -scores[i])[:3][::-1]
        blocks = "".join(f"{train[i].columns['prompt']}{train[i].columns['completion']}\n\n" for i in best)
        assert lm.tokenizer.decode(lm.prompt(row, 64)) == blocks + row.columns["prompt"]
