"""Which prompt has to be beaten: a search in four steps, on validation rows alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.evaluation import subjects
from tuneforge import rules
from tuneforge.composition import compose
from tuneforge.errors import ConfigError
from tuneforge.evaluation.baseline import Choice, choose_prompt
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluation.prompt import Prompt
from tuneforge.evaluator.exact_match import ExactMatch
from tuneforge.rows import Row, Stats
from tuneforge.sections import Selection


class Taste(ExactMatch):
    """Scores the way of asking itself, so that it is known which is best."""

    likes: Callable[[Prompt], float] = staticmethod(lambda prompt: 0.0)
    asked: list[str]

    def measure(self, lm: Any, rows: Sequence[Row], context: Any, versus: Any = None) -> Iterable[Stats]:
        context.note(f"asked as {lm.lm.asking.name}")
        return [{"exact_match": type(self).likes(lm.lm.asking)} for _ in rows]


@pytest.fixture(scope="module")
def base() -> HFLM:
    return HFLM("base", subjects.llama(context=512), subjects.tokenizer())


def choose(base: HFLM, folder: Path, likes: Any, held: Sequence[Any] = (), **baseline: Any) -> tuple[Choice, Any]:
    run = subjects.run()
    for key, value in baseline.items():
        setattr(run.baseline, key, value)
    context = subjects.context(run, folder)
    Taste.likes = staticmethod(likes)  # type: ignore[assignment]
    sets = list(held) or [subjects.held(subjects.questions(5, seed=9), split="validation")]
    return choose_prompt(run, base, {"taste": Taste()}, sets, subjects.questions(30), context), context


def test_each_step_stands_on_the_best_of_the_one_before(base: HFLM, tmp_path: Path) -> None:
    (tmp_path / "facts.txt").write_text("alpha beta gamma", encoding="utf-8")

    def likes(prompt: Prompt) -> float:
        worth = {"Q: {prompt}": 0.2, "A: {prompt}": 0.1}.get(prompt.format, 0.0)
        return worth + 0.1 * (prompt.instruction == "two") + 0.1 * bool(prompt.nearest) - 0.05 * bool(prompt.passages)

    choice, _ = choose(
        base, tmp_path, likes, formats=["A: {prompt}", "Q: {prompt}"], instructions=["one", "two"], shots=[3, 1],
        selection=[Selection.random, Selection.nearest], documents=str(tmp_path / "facts.txt"),
    )  # fmt: skip
    chosen = "format 2 + instruction 2 + "
    assert list(choice.scores) == [
        "zero-shot", "format 1", "format 2", "format 2 + instruction 1", "format 2 + instruction 2",
        *(chosen + shots for shots in ("1-shot", "1-shot nearest", "3-shot", "3-shot nearest")),
        f"{chosen}1-shot nearest + documents",
    ]  # fmt: skip
    assert choice.name == f"{chosen}1-shot nearest"  # as good as three, and simpler
    assert choice.scores[choice.name] == pytest.approx(0.4)
    assert choice.reason.startswith("zero-shot .00, format 2 + instruction 2 .30, ")
    assert choice.reason.endswith(f" and 4 more -> {choice.name}")
    assert (choice.facts["metric"], choice.facts["validation_rows"]) == ("taste.exact_match", 5)
    assert choice.facts["scores"] == choice.scores
    described = choice.lm.describe(subjects.questions(1))  # type: ignore[attr-defined]
    assert (described["format"], described["instruction"], described["shots"]) == ("Q: {prompt}", "two", 1)
    assert described["prompt"]


def test_of_equal_ones_the_plain_prompt_stands(base: HFLM, tmp_path: Path) -> None:
    for score in (0.0, float("nan")):
        choice, _ = choose(base, tmp_path, lambda _, score=score: score, formats=["{prompt}!"], instructions=["one"])
        assert choice.lm is base
        assert (choice.name, len(choice.scores)) == ("zero-shot", 4)
    assert choice.facts["scores"]["4-shot"] is None
    assert choice.reason == "zero-shot -, format 1 -, instruction 1 -, 4-shot - -> zero-shot"


def test_nothing_is_tried_where_nothing_is_offered(base: HFLM, tmp_path: Path) -> None:
    for shots in ([], [0]):
        choice, _ = choose(base, tmp_path, lambda _: 0.0, shots=shots)
        assert (choice.lm, choice.scores) == (base, {})
        assert choice.reason == "the base itself: baseline.shots=[], and no format, instruction or documents"


def test_without_validation_rows_the_first_of_each_list_stands(base: HFLM, tmp_path: Path) -> None:
    held = [subjects.held(subjects.questions(5, seed=9))]
    choice, context = choose(base, tmp_path, None, held, formats=["{prompt}!", "x {prompt}"], shots=[2, 4])
    assert (choice.name, choice.scores) == ("format 1 + 2-shot", {})
    assert choice.prompt == "a fixed prompt (format 1 + 2-shot)"
    assert context.notes[-1]["text"] == (
        "no validation rows to choose a prompt on, so a fixed format 1 + 2-shot"
    )  # fmt: skip


def test_what_evaluators_say_of_candidates_is_not_said(base: HFLM, tmp_path: Path) -> None:
    choice, context = choose(base, tmp_path, lambda prompt: 0.1 * len(prompt.examples), shots=[2])
    assert (choice.name, choice.prompt) == ("2-shot", "the best prompt (2-shot)")
    assert not [note for note in context.notes if "asked as" in note["text"]]


def test_too_many_shots_are_said(base: HFLM, tmp_path: Path) -> None:
    choice, context = choose(base, tmp_path, lambda _: 0.0, shots=[100])
    name = list(choice.scores)[1]
    assert 0 < int(name.removesuffix("-shot")) < 100
    assert context.notes[-1]["text"] == (
        f"baseline.shots=100: {name}, as no more of the 30 rows that may be shown are there, or fit the context"
    )


def test_as_many_passages_as_fit_the_context(tmp_path: Path) -> None:
    (tmp_path / "facts.txt").write_text("\n\n".join(f"alpha {word * 25}" for word in ("one ", "two ", "x ")), "utf-8")
    base = HFLM("base", subjects.llama(context=512), subjects.tokenizer())
    (tmp_path / "long.txt").write_text(f"alpha {'word ' * 140}", "utf-8")
    held = [subjects.held([subjects.row(prompt="alpha", completion="ok")], split="validation")]
    for file, said in (("facts", ""), ("long", "left out, as not one passage fits the context")):
        path = str(tmp_path / f"{file}.txt")
        choice, context = choose(base, tmp_path, lambda p: bool(p.passages), held, shots=[], documents=path, passages=1)
        assert (choice.name == "documents") == (not said)
        assert [note["text"] for note in context.notes] == ([f"baseline.documents={path}: {said}"] if said else [])
    path = str(tmp_path / "facts.txt")
    choice, context = choose(base, tmp_path, lambda p: bool(p.passages), held, shots=[], documents=path)
    assert choice.lm.describe(held[0].rows)["passages"] == 1  # type: ignore[attr-defined]
    assert context.notes[-1]["text"] == "baseline.passages=3: 1, as no more are there, or fit the context"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("baseline.shots=[-1]", r"baseline.shots=\[-1\]: must be 0 or more, each"),
        ("baseline.shots=4", r"baseline.shots=4: is a list; write 'baseline.shots=\[4\]'"),
        ("baseline.selection=[nearst]", "no such value. Did you mean 'nearest'"),
        ("baseline.selection=[]", r"baseline.selection=\[\]: name how shots are chosen"),
        ("baseline.formats=['Q: {question}']", r"'Q: \{question\}' has no \{prompt\}"),
        ("baseline.instructions=['@none.txt']", "baseline.instructions=@none.txt: no such file"),
        ("baseline.instructions=[' ']", "an instruction is empty"),
        ("baseline.documents=nowhere", "baseline.documents=nowhere: no such file or folder"),
        ("baseline.documents=empty.txt", "baseline.documents=empty.txt: the file is empty"),
        ("baseline.documents=images", "the folder has no .txt or .md file"),
        ("baseline.passages=0", "baseline.passages=0: must be 1 or more"),
        ("baseline.rows=0", "baseline.rows=0: must be 1 or more"),
    ],
)
def test_wrong_values_are_answered(asked: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "images").mkdir()
    with pytest.raises(ConfigError, match=said):
        compose([asked])


def test_a_sound_baseline_has_no_problem() -> None:
    assert not [line for line in rules.problems(compose()) if "baseline" in line]
