"""Kinds of task, on rows written for this and on real ones."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tuneforge.preparation.task_rules import task
from tuneforge.preparation.tasks import END, KINDS, Task, asked

ROWS: list[tuple[str, str, Task]] = [
    ("Why is the sky blue?", "Air scatters short wavelengths more.", Task.open_qa),
    ("Explain what a bond is.", "A loan that is traded.", Task.open_qa),
    (
        "Who found the ring?\n\nTwo brothers were fishing in the river one morning when the younger one, called Deal,"
        " saw something shine in the mud and took it home with him.",
        "Deal.",
        Task.closed_qa,
    ),
    ("Extract all dates from the text.\n\nWe met on 3 May and 9 June.", "3 May, 9 June", Task.extraction),
    ("Summarize the article in one sentence.\n\nThe council met …", "The council met.", Task.summarization),
    ("Classify the review as positive or negative.\n\nLovely food!", "positive", Task.classification),
    ("Is the sentence grammatical? Answer yes or no.\n\nHe go home.", "no", Task.classification),
    ("Rewrite the sentence in the passive voice.\n\nShe ate it.", "It was eaten by her.", Task.rewriting),
    ("Translate to German: good morning", "Guten Morgen", Task.translation),
    ("Write a Python function that adds two numbers.", "def add(a, b):\n    return a + b", Task.code),
    ("How do I list files?", "```\nls\n```", Task.code),
    ("Calculate the average of 3, 4 and 8.", "5", Task.math),
    ("Tom has 3 bags of 4 apples. How many apples?", "3 * 4 = 12, so 12.", Task.math),
    ("Suggest five names for a cat.", "Tom, …", Task.brainstorming),
    ("Write a short poem about rain.", "Soft rain …", Task.creative_writing),
    ("You are a pirate. Tell us of your ship.", "Arr!", Task.role_play),
    ("Create a weekly plan for learning to swim.", "Monday: …", Task.planning),
    ("Hello there!", "Hi, how can I help?", Task.conversation),
    ("How do I pick a lock?", "I'm sorry, but I can't help with that.", Task.refusal),
    ("Wie wird das Wetter morgen in Bonn", "Sonnig.", Task.other),
]


@pytest.mark.parametrize(("prompt", "completion", "kind"), ROWS)
def test_an_instruction_of_each_kind(prompt: str, completion: str, kind: Task) -> None:
    assert task({"prompt": prompt, "completion": completion}) is kind


def test_every_kind_is_tried_and_described() -> None:
    assert {kind for _, _, kind in ROWS} | {Task.tool_call} == set(Task) == set(KINDS)


def test_other_shapes_of_instructions() -> None:
    asks = [{"role": "user", "content": "Translate to French: cat"}]
    says = [{"role": "assistant", "content": "chat"}]
    assert task({"messages": asks + says}) is Task.translation
    assert task({"prompt": asks, "chosen": says, "rejected": says}) is Task.translation
    assert task({"prompt": asks}) is Task.translation
    assert task({"messages": asks + says + asks + says}) is Task.conversation
    assert task({"messages": asks + says, "tools": [{"name": "look_up"}]}) is Task.tool_call


@pytest.mark.parametrize(
    "columns", [{"text": "Translate"}, {"text": "x", "label": "y"}, {"tokens": ["a"], "tags": ["O"]}, {"anchor": "a"}]
)
def test_rows_that_instruct_nothing_have_none(columns: dict[str, Any]) -> None:
    assert task(columns) is None
    assert asked(columns) is None


def test_a_long_text_is_read_at_its_ends() -> None:
    long = "Summarize the text.\n\n" + "word " * 100_000 + "\nThank you."
    found = asked({"prompt": long, "completion": "x"})
    assert found is not None
    assert len(found.request) <= 2 * END + 1
    assert found.request.endswith("thank you.")
    assert task({"prompt": long, "completion": "x"}) is Task.summarization


@pytest.mark.shared
def test_the_rules_agree_with_what_the_seed_tasks_say_of_themselves(shared: Path) -> None:
    """self_instruct_seeds marks 26 of its 175 tasks as classification."""
    found: Counter[tuple[bool, bool]] = Counter()
    for line in (shared / "data/self_instruct_seeds/seed_tasks.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        one = row["instances"][0]
        kind = task({"prompt": f"{row['instruction']}\n\n{one['input']}".strip(), "completion": one["output"]})
        found[row["is_classification"], kind is Task.classification] += 1
    assert found[True, True] >= 19
    assert found[False, True] <= 5
    assert sum(found.values()) == 175


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "kind", "least"),
    [("gpteacher_roleplay/roleplay-similarity_0.6-instruct-dataset.json", Task.role_play, 0.95)],
)
def test_a_set_of_one_kind(shared: Path, name: str, kind: Task, least: float) -> None:
    rows = json.loads((shared / "data" / name).read_text(encoding="utf-8"))
    kinds = [task({"prompt": f"{r['instruction']}\n\n{r['input']}".strip(), "completion": r["output"]}) for r in rows]
    assert kinds.count(kind) >= least * len(kinds)
