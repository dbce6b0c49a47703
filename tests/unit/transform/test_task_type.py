"""Kinds of task as labels of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tuneforge.adapter.full import Full
from tuneforge.components import Context, Teacher
from tuneforge.context import RunContext
from tuneforge.model.hf import Hf
from tuneforge.optimizer.adamw import AdamW
from tuneforge.preparation.transforming import transform
from tuneforge.rows import Answer, Request, Row
from tuneforge.scheduler.constant import Constant
from tuneforge.settings import Run
from tuneforge.strategy.sft import Sft
from tuneforge.transform.task_type import TaskLabels, TaskType


@dataclass(kw_only=True)
class Scripted(Teacher):
    """Answers by what the prompt holds, the last request first."""

    name: ClassVar[str] = "scripted"

    def complete(self, requests: Iterable[Request], context: Context) -> Iterator[tuple[Request, Answer]]:
        said = {"VERSE": '{"task": "creative_writing"}', "SUM": "`Math`.", "ODD": "perhaps math or code", "NO": "math"}
        for request in reversed(list(requests)):
            words = str(request.messages[0]["content"])
            word = next(word for word in said if word in words)
            yield request, Answer(said[word], error="timeout" if word == "NO" else "")


def context_of(folder: Path, **groups: Any) -> RunContext:
    run = Run(model=Hf(path="x"), strategy=Sft(), adapter=Full(), optimizer=AdamW(), scheduler=Constant(), **groups)
    return RunContext(run, folder)


def row(prompt: str, line: int = 1) -> Row:
    return Row(columns={"prompt": prompt, "completion": "x"}, file="a", line=line)


def kinds(rows: Iterable[Any]) -> list[str]:
    return [r.task for r in rows]


def test_rows_are_labelled_and_nothing_else_changes(tmp_path: Path) -> None:
    given = [row("Translate to French: cat"), row("Why is it dark?", 2), Row(columns={"text": "x"}, file="a", line=3)]
    done = transform("task_type", TaskType(), given, "train", context_of(tmp_path))
    assert kinds(done.rows) == ["translation", "open_qa", ""]
    assert [replace(r, task="") for r in done.rows] == given
    assert (done.report.labelled, done.report.changed, done.report.added) == (2, 0, 0)
    assert done.report.counts == {"translation": 1, "open_qa": 1}


def test_what_no_rule_knows_is_clustered_and_evaluation_sets_get_the_same_clusters(tmp_path: Path) -> None:
    ships = [row(f"Schiffe fahren im Hafen Nummer {n}", n) for n in range(30)]
    cakes = [row(f"Kuchen backen mit Mehl und Zucker {n}", 100 + n) for n in range(30)]
    component, context = TaskType(clusters=2), context_of(tmp_path)
    found = kinds(component.apply(ships + cakes, context))
    assert len(set(found[:30])) == 1 == len(set(found[30:]))
    assert found[0].startswith("other (")
    assert {"schiffe", "hafen"} & set(found[0].removeprefix("other (").removesuffix(")").split(", "))
    assert kinds(component.apply([row("Kuchen mit Zucker")], context)) == [found[30]]
    assert kinds(TaskType(clusters=2).apply(ships + cakes, context)) == found
    assert set(kinds(TaskType(clusters=0).apply(ships, context))) == {"other"}
    assert set(kinds(TaskType().apply(ships[:30], context))) == {"other"}


def test_a_teacher_names_kinds_and_the_rules_stand_in_for_it(tmp_path: Path) -> None:
    given = [row("VERSE Why?"), row("SUM Why?", 2), row("ODD Why?", 3), row("NO Why?", 4)]
    context = context_of(tmp_path, teacher={"big": Scripted()})
    found = list(TaskType(labels=TaskLabels.teacher, teacher="big").apply(given, context))
    assert kinds(found) == ["creative_writing", "math", "open_qa", "open_qa"]
    assert context.counts["no kind of task in the teacher's answer"] == 2
    assert "2 answers name no kind of task" in context.notes[0]["text"]


@pytest.mark.parametrize(
    ("component", "reason"),
    [
        (TaskType(labels=TaskLabels.teacher), "labels=teacher needs the key of a teacher (big)"),
        (TaskType(labels=TaskLabels.teacher, teacher="bug"), "no such teacher (big). Did you mean 'big'?"),
        (TaskType(teacher="big"), "is not asked with labels=rules"),
        (TaskType(clusters=-1), "clusters=-1 must be 0 or more"),
    ],
)
def test_check(tmp_path: Path, component: TaskType, reason: str) -> None:
    run = context_of(tmp_path, teacher={"big": Scripted()}).run
    assert reason in " ".join(component.check(run))
    assert not list(TaskType(labels=TaskLabels.teacher, teacher="big").check(run))
