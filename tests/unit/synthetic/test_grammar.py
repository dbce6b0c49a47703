"""Grammars: what they draw, and what a mistake in one says."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tuneforge.errors import ConfigError
from tuneforge.synthetic.grammar import Drawn, load
from tuneforge.synthetic.values import Draw

TASK = "tasks: {t: {prompt: '%s', completion: x}}"


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def draws(tmp_path: Path, text: str, count: int = 200) -> list[Drawn]:
    grammar, draw = load(written(tmp_path, text)), Draw(random.Random(0).random)
    return [grammar.draw(draw) for _ in range(count)]


def value(tmp_path: Path, let: str, template: str) -> set[str]:
    """What the template becomes over 200 draws."""
    slots = "slots: {word: [kiwi, fig, plum], one: [ab], rec: [{a: x, b: 1}, {a: y, b: 2, weight: 0}]}\n"
    text = f'{slots}tasks: {{t: {{let: {{{let}}}, prompt: "{template}", completion: x}}}}'
    return {drawn.columns["prompt"] for drawn in draws(tmp_path, text)}


@pytest.mark.parametrize(
    ("let", "template", "expected"),
    [
        ("", "{word}", {"kiwi", "fig", "plum"}),
        ("", "{{{one}}}", {"{ab}"}),
        ("w: '{word}'", "{w} {w}", {"kiwi kiwi", "fig fig", "plum plum"}),
        ("n: {number: [2, 3]}", "{n}", {"2", "3"}),
        ("a: {number: 4}, b: {number: 7}, s: {sum: ['{a}', '{b}', 1]}", "{s}", {"12"}),
        ("d: {minus: [9, 4, 2]}", "{d}", {"3"}),
        ("w: {pick: word, n: 3}, s: {sort: '{w}'}", "{s}", {"fig kiwi plum"}),
        ("w: {pick: word, n: 3}, s: {sort: '{w}'}, r: {reverse: '{s}'}", "{r}", {"plum kiwi fig"}),
        ("w: {pick: word, n: [1, 2]}, c: {count: '{w}'}", "{c}", {"1", "2"}),
        ("w: {pick: word, n: 2}, p: {pick: w, n: 2}, s: {sort: '{p}'}, q: {sort: '{w}'}, "
         "c: {compare: ['{s}', '{q}'], more: m, less: l, equal: e}", "{c}", {"e"}),
        ("j: {join: [a, b], with: ', '}", "{j}", {"a, b"}),
        ("i: {item: [a, b, c], at: -1}", "{i}", {"c"}),
        ("i: {item: abc, at: 1}", "{i}", {"b"}),
        ("l: {letters: abc}, j: {join: '{l}', with: '-'}", "{j}", {"a-b-c"}),
        ("u: {upper: '{one}'}, c: {capitalise: '{one}'}, l: {lower: XY}", "{u}{c}{l}", {"ABAbxy"}),
        ("r: {reverse: '{one}'}", "{r}", {"ba"}),
        ("x: kiwi, o: {other: word, than: '{x}'}", "{o}", {"fig", "plum"}),
        ("c: {compare: [2, 1], more: yes it is, less: l, equal: e}", "{c}", {"yes it is"}),
        ("c: {choose: [a, {upper: b}]}", "{c}", {"a", "B"}),
        ("c: {choose: {a: 1, b: 0}}", "{c}", {"a"}),
        ("r: '{rec}'", "{r.a}{r.b}", {"x1"}),
        ("r: ['{rec}', '{rec}']", "{r.a}", {"x x"}),
    ],
)  # fmt: skip
def test_functions_and_templates(tmp_path: Path, let: str, template: str, expected: set[str]) -> None:
    assert value(tmp_path, let, template) == expected


def test_weights_shape_the_draw(tmp_path: Path) -> None:
    text = "slots: {s: {often: 9, seldom: 1}}\ntasks: {t: {prompt: '{s}', completion: x}}"
    found = [d.columns["prompt"] for d in draws(tmp_path, text, 2000)]
    assert 0.87 < found.count("often") / len(found) < 0.93


def test_tasks_are_drawn_by_weight_and_only_those_named(tmp_path: Path) -> None:
    text = "tasks: {a: {weight: 3, text: x}, b: {weight: 1, text: y}, c: {weight: 0, text: z}}"
    names = [d.task for d in draws(tmp_path, text, 2000)]
    assert set(names) == {"a", "b"}
    assert 0.70 < names.count("a") / len(names) < 0.80
    grammar = load(written(tmp_path, text), ["b"])
    assert [task.name for task in grammar.tasks] == ["b"]


def test_a_conversation_draws_its_turns_from_other_tasks(tmp_path: Path) -> None:
    text = "tasks: {a: {prompt: p, completion: q}, talk: {turns: [2, 3]}, b: {text: alone, weight: 0}}"
    talks = [d for d in draws(tmp_path, text) if d.task == "talk"]
    assert {len(d.prompts) for d in talks} == {2, 3}
    pair = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "q"}]
    assert all(d.columns["messages"] == pair * len(d.prompts) for d in talks)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (TASK % "{colr}" + "\nslots: {colour: [red]}", ["task 't', prompt", "unknown slot 'colr'", "'colour'"]),
        ("slots: {a: ['{b}'], b: ['{a}']}\n" + TASK % "{a}", ["slot 'a'", "leads to itself: a -> b -> a"]),
        ("slots: {a: ['x{a}']}\n" + TASK % "{a}", ["slot 'a'", "a -> a"]),
        ("slots: {a: {red: -1}}\n" + TASK % "{a}", ["slot 'a'", "'red'", "-1", "at least 0"]),
        ("slots: {a: {red: .nan}}\n" + TASK % "{a}", ["slot 'a'", "'red'", "nan"]),
        ("slots: {a: {red: heavy}}\n" + TASK % "{a}", ["'red'", "'heavy'"]),
        ("slots: {a: {red: 0}}\n" + TASK % "{a}", ["slot 'a'", "all weights are 0"]),
        ("slots: {a: []}\n" + TASK % "{a}", ["slot 'a'", "no choices"]),
        ("slots: {a: red}\n" + TASK % "{a}", ["slot 'a'", "list of choices", "'red'"]),
        ("slots: {a: [yes]}\n" + TASK % "{a}", ["slot 'a'", "True", "in quotes"]),
        ("slots: {a: [1.5]}\n" + TASK % "{a}", ["slot 'a'", "1.5", "in quotes"]),
        ("slots: [a]\n" + TASK % "x", ["slots", "mapping"]),
        (TASK % "{", ["prompt", "literal brace"]),
        (TASK % "{}", ["prompt", "only {name}"]),
        (TASK % "{a!r}", ["prompt", "only {name}"]),
        ("tasks: {t: {let: {a: {uper: x}}, prompt: p, completion: c}}", ["let 'a'", "'uper'", "'upper'"]),
        ("tasks: {t: {let: {a: {pick: w, m: 2}}, prompt: p, completion: c}}", ["pick", "unknown option 'm'", "n"]),
        ("tasks: {t: {let: {a: {number: [5, 1]}}, prompt: p, completion: c}}", ["number", "[5, 1]"]),
        ("tasks: {t: {let: {a: {item: [a]}}, prompt: p, completion: c}}", ["item", "'at' is missing"]),
        ("tasks: {t: {let: {a: x}, prompt: p, completion: c}}", ["task 't'", "let 'a' is used nowhere"]),
        ("tasks: {t: {let: {a: {}}, prompt: p, completion: c}}", ["let 'a'", "empty mapping"]),
        ("tasks: {t: {promt: p, completion: c}}", ["task 't'", "unknown key 'promt'", "'prompt'"]),
        ("tasks: {t: {prompt: p}}", ["task 't'", "prompt + completion"]),
        ("tasks: {t: {prompt: p, completion: c, weight: -2}}", ["task 't'", "-2"]),
        ("tasks: {t: {prompt: p, completion: c, weight: 0}}", ["all tasks have weight 0"]),
        ("tasks: {t: {prompt: p, completion: c}, u: {turns: 2, of: [tt]}}", ["task 'u'", "unknown task 'tt'", "'t'"]),
        ("tasks: {t: {text: p}, u: {turns: 2, of: [t]}}", ["task 'u'", "'t' has no prompt"]),
        ("tasks: {t: {prompt: p, completion: c}, u: {turns: 0}}", ["task 'u'", "at least 1"]),
        ("tasks: {t: text}", ["task 't'", "a mapping is needed"]),
        ("tasks: {}", ["`tasks`"]),
        ("slot: {}\n" + TASK % "x", ["unknown key 'slot'", "'slots'"]),
        ("slots: {a: [x]}\nslots: {b: [x]}\n" + TASK % "x", ["no readable YAML", "duplicate key"]),
        ("tasks: {t: [", ["no readable YAML"]),
    ],
)
def test_a_mistake_names_file_place_and_cure(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert "mine.yaml" in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("slots: {r: [{a: x}]}\n" + TASK % "{r}", "write {name.field}"),
        ("slots: {r: [{a: x}]}\n" + TASK % "{r.b}", "no field 'b' (fields: a)"),
        ("slots: {r: [x]}\n" + TASK % "{r.b}", "it is no record"),
        (
            "slots: {r: [x]}\ntasks: {t: {let: {w: {pick: r, n: 2}}, prompt: '{w}', completion: c}}",
            "no 2 different values",
        ),
        (
            "slots: {r: [x]}\ntasks: {t: {let: {w: {other: r, than: x}}, prompt: '{w}', completion: c}}",
            "other than 'x'",
        ),
        ("tasks: {t: {let: {w: {sum: [a]}}, prompt: '{w}', completion: c}}", "sum needs numbers"),
        ("tasks: {t: {let: {w: {sort: a}}, prompt: '{w}', completion: c}}", "sort needs a list"),
        ("tasks: {t: {let: {w: {item: [a], at: 3}}, prompt: '{w}', completion: c}}", "item 3 of 1"),
        (
            "tasks: {t: {let: {w: {compare: [1, a], more: m, less: l, equal: e}}, prompt: '{w}', completion: c}}",
            "types",
        ),
    ],
)
def test_a_mistake_found_while_drawing_names_the_task(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        draws(tmp_path, text)
    assert "mine.yaml: task 't'" in str(caught.value)
    assert part in str(caught.value)


def test_names_and_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no bundled grammar 'helpdsk' \(general, helpdesk, safety; .*Did you mean 'helpdesk'"
    ):
        load("helpdsk")
    with pytest.raises(ConfigError, match="does not exist"):
        load(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match="is a directory"):
        load(str(tmp_path))
    with pytest.raises(ConfigError, match=r"no task 'cpy' .*Did you mean 'copy'"):
        load("general", ["cpy"])
