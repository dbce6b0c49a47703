"""Columns by name, by dotted path, by template; one row of each element of a nested list."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tuneforge.components import Columns, DataSource
from tuneforge.composition import compose, points
from tuneforge.data.json import Json
from tuneforge.data.nested import ABSENT, reach
from tuneforge.errors import ConfigError
from tuneforge.preparation.formats import layout
from tuneforge.preparation.mapping import Template, rendered
from tuneforge.preparation.messages import Unusable
from tuneforge.rows import Row

NESTED = {
    "turns": ["first", "last"],
    "instances": [{"output": "yes"}],
    "paragraphs": [{"text": "one"}, {"text": "two"}],
    "instances.0.output": "the column of that very name",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("instances.0.output", "the column of that very name"),
        ("turns.0", "first"),
        ("turns.-1", "last"),
        ("turns.2", ABSENT),
        ("turns.-3", ABSENT),
        ("turns.x", ABSENT),
        ("paragraphs.text", ["one", "two"]),
        ("paragraphs.1.text", "two"),
        ("paragraphs.txt", ABSENT),
        ("paragraphs.text.0", ABSENT),
        ("nothing", ABSENT),
    ],
)
def test_paths(path: str, value: Any) -> None:
    assert reach(NESTED, path) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (3, "3"),
        (-12.6, "-12.6"),
        (True, "true"),
        (["a", 2], "a\n\n2"),
        ([], ""),
        ([["", "2019"], ["Total\nsales", 1.5], ["x", None]], " | 2019\nTotal sales | 1.5\nx | "),
    ],
)
def test_rendered(value: Any, text: str) -> None:
    assert rendered(value, "'x'") == text


@pytest.mark.parametrize("value", [None, {"a": 1}, [{"a": 1}], [None], float("nan"), b"bytes", [["a", ["b"]]]])
def test_what_has_no_one_way_to_be_text(value: Any) -> None:
    with pytest.raises(Unusable, match="'x'"):
        rendered(value, "'x'")


def test_templates() -> None:
    row = {"a b": "x", "list": ["p", "q"], "table": [["1", "2"]], "odd:name": "o"}
    assert Template(r"{a b}:\n{list}\t{{as it is}} {list:, }").value(row) == "x:\np\n\nq\t{as it is} p, q"
    assert Template(r"{table:\t}").value(row) == "1\t2"
    with pytest.raises(Unusable, match="missing field: 'none'"):
        Template("{list} {none}").value(row)


def columns(row: dict[str, Any], **given: str) -> dict[str, Any]:
    return layout("data.x", DataSource(columns=Columns(**given)), [row]).convert(row)


def test_mapped_columns_of_every_kind() -> None:
    row = {"q": {"text": "What?"}, "ctx": ["a", "b"], "ans": 4.5, "meta": {"by": "Ann"}, "input": "not this"}
    made = columns(row, prompt=r"{ctx}\n\n{q.text}", completion="{ans}", system="meta.by")
    assert made["prompt"][0] == {"role": "system", "content": "Ann"}
    assert made["prompt"][1]["content"] == "a\n\nb\n\nWhat?"
    assert made["completion"][0]["content"] == "4.5"
    talk = {"data": {"talk": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}}
    assert [m["role"] for m in columns(talk, messages="data.talk")["messages"]] == ["user", "assistant"]


def test_what_the_expressions_read_is_in_use() -> None:
    row = {"instruction": "a", "input": "b", "output": "c", "rest": 1}
    found = layout("data.x", DataSource(columns=Columns(prompt="{instruction}: {input}", completion="output")), [row])
    assert found.convert(row) == {"prompt": "a: b", "completion": "c"}
    assert found.extra == {"rest": 1}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("instanes.0.output", r"=instanes.0.output: the file has no such column \(it has .*Did you mean 'instances'"),
        ("instances.0.outptu", r"'instances.0' has no 'outptu' \(it has output\). Did you mean 'output'"),
        ("instances.7.output", "the path ends at 'instances', which holds a list without '7'"),
        ("turns.0.text", "the path ends at 'turns.0', which holds str without 'text'"),
        ("{turns.0} {qestion}", r"the file has no such column 'qestion' \(it has"),
        ("{turns} {instances.0.outptu}", "'instances.0' has no 'outptu'"),
    ],
)
def test_a_path_that_leads_nowhere_names_the_step(given: str, said: str) -> None:
    row = {"turns": ["a"], "instances": [{"output": "yes"}]}
    with pytest.raises(ConfigError, match=r"data\.x\.columns\.prompt=" + r".*" + said.removeprefix(f"={given}")):
        columns(row, prompt=given)


def test_rows_are_resolved_one_by_one(jsonl: Any, prepared: Any) -> None:
    rows: list[dict[str, Any]] = [
        {"q": "a", "alts": ["x"], "who": {"id": 7}},
        {"q": ["b", "c"], "alts": ["y", "z"], "who": {"id": 8}},
        {"q": "d", "alts": [], "who": {}},
        {"q": "e", "alts": None},
        {"q": {"odd": 1}, "alts": ["w"]},
        {"alts": ["v"]},
    ]
    given = Columns(prompt="{q}", completion="alts.0", group="who.id", id="who.id")
    found = prepared(data={"x": Json(path=jsonl("a.jsonl", rows), columns=given)})
    assert [(r.columns["prompt"], r.columns["completion"], r.group, r.line) for r in found.train] == [
        ("a", "x", "7", "7"),
        ("b\n\nc", "y", "8", "8"),
    ]
    assert [(r.row.line, r.reason) for r in found.rejected] == [
        (3, "missing field: 'alts.0'"),
        (4, "missing field: 'alts.0'"),
        (5, "wrong type: 'q' holds dict, which has no one way to be text"),
        (6, "missing field: 'q'"),
    ]


def test_each_element_is_a_row(jsonl: Any, prepared: Any) -> None:
    first = [{"uid": "q1", "q": "a", "a": 1}, {"uid": "q2", "q": "b", "a": [2, 3]}]
    rows: list[dict[str, Any]] = [
        {"uid": "p1", "doc": {"text": "T", "questions": first}},
        {"uid": "p2", "doc": {"text": "U", "questions": []}},
        {"uid": "p3", "doc": {"text": "V"}},
        {"uid": "p4", "doc": {"text": "W", "questions": [{"uid": "q4", "q": "c", "a": "x"}, {"uid": "q5", "q": "d"}]}},
    ]
    source = Json(
        path=jsonl("a.jsonl", rows),
        each="doc.questions",
        columns=Columns(prompt="{doc.text}: {q}", completion="{a:, }", group="uid"),
    )
    found = prepared(data={"x": source})
    assert [(r.line, r.columns["prompt"], r.columns["completion"], r.group) for r in found.train] == [
        ("1.1", "T: a", "1", "q1"),
        ("1.2", "T: b", "2, 3", "q2"),
        ("4.1", "W: c", "x", "q4"),
    ]
    assert [(r.row.line, r.reason) for r in found.rejected] == [
        (2, "no elements: 'doc.questions' is an empty list"),
        (3, "no elements: 'doc.questions' is no list"),
        ("4.2", "missing field: 'a'"),
    ]


def test_each_of_nothing_names_the_nearest(jsonl: Any, prepared: Any) -> None:
    path = jsonl("a.jsonl", [{"questions": [{"text": "a"}], "id": 1}])
    with pytest.raises(ConfigError, match=r"^data\.x\.each=question: no row has a list .*mean 'questions'\?"):
        prepared(data={"x": Json(path=path, each="question")})


@pytest.mark.parametrize("text", [r"{a}\n\n{b}", "Q: {a, b} (it's)", '{a:, } "b"'])
def test_a_template_needs_no_quotes_for_the_grammar(text: str, jsonl: Any) -> None:
    path = jsonl("a.jsonl", [{"a": 1}])
    run = compose(["model=tiny", f"data={path}", f"data.a.columns.prompt={text}", "data.a.columns.completion='{b}'"])
    assert (run.data["a"].columns.prompt, run.data["a"].columns.completion) == (text, "{b}")


def test_a_grid_over_templates() -> None:
    found = points(["data.a.columns.prompt={a} {b}", "seed=1,2"])
    assert found == [["data.a.columns.prompt='{a} {b}'", f"seed={seed}"] for seed in (1, 2)]


def test_each_says_which_columns_it_hides(jsonl: Any, make_run: Any, context_of: Any) -> None:
    rows = [{"id": 1, "qs": [{"id": 2, "text": "a"}, {"text": "b"}]}, {"id": 3, "qs": ["plain"]}]
    context = context_of(make_run())
    found = list(Json(path=jsonl("a.jsonl", rows), each="qs").read(context))
    columns = [dict(row.columns) for row in found if isinstance(row, Row)]
    assert columns == [{"id": 2, "text": "a"}, {"id": 1, "text": "b"}, {"id": 3, "qs": "plain"}]
    assert context.notes[0]["text"].endswith("hide columns of the same name around them: id (1 rows)")
    assert json.loads(json.dumps(rows)) == rows  # the file's rows are not changed
