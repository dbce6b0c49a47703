"""Numbers of several runs stand side by side on one protocol, paired by row, or are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.unit.comparison.measured import right, rows, run
from tuneforge.comparison.comparing import as_json, compare, write
from tuneforge.comparison.contestants import Contestant, contestants
from tuneforge.comparison.disagreements import disagreements
from tuneforge.comparison.places import places
from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.evaluation.measure import Place
from tuneforge.evaluation.statistics import newcombe
from tuneforge.evaluation.tidy import POOLED


def two(tmp_path: Path, **second: Any) -> list[str]:
    first = run(tmp_path / "a", {"base": right(1), "tuned": right(10)})
    other = run(tmp_path / "b", {"base": right(1), "tuned": right(25)}, **second)
    return [str(first), str(other)]


def difference(made: Any, model: str, name: str = "test") -> dict[str, Any]:
    (found,) = [r for r in made.rows if r["model"] == model and r["versus"] and r["set"] == name]
    return dict(found)


def test_differences_are_paired_by_row(tmp_path: Path) -> None:
    made = compare(contestants(two(tmp_path)))
    row = difference(made, "b")
    expected = newcombe(10, 15, 0, 15)
    assert (row["value"], row["low"], row["high"]) == pytest.approx(tuple(expected), abs=1e-12)
    assert (row["versus"], row["n"]) == ("a", 40)
    own = json.loads((tmp_path / "b" / "metrics.json").read_text())["rows"]
    mine = next(r for r in made.rows if r["model"] == "b" and not r["versus"])
    assert mine["low"] == next(r["low"] for r in own if r["model"] == "tuned" and not r["versus"])


def test_rows_of_one_group_are_not_independent_here_either(tmp_path: Path) -> None:
    alone = compare(contestants(two(tmp_path / "alone")))
    grouped = {"sets": {"test": rows(groups=5)}}
    first = run(tmp_path / "a", {"tuned": right(10)}, **grouped)
    other = run(tmp_path / "b", {"tuned": lambda i: right(40)(i) if i % 5 < 2 else "no"}, **grouped)
    made = compare(contestants([str(first), str(other)]))
    width = {k: difference(m, "b")["high"] - difference(m, "b")["low"] for k, m in (("a", alone), ("g", made))}
    assert width["g"] > 1.5 * width["a"]


def test_the_named_run_is_what_others_are_compared_with(tmp_path: Path) -> None:
    made = compare(contestants(two(tmp_path)), against="b")
    assert difference(made, "a")["value"] == pytest.approx(-15 / 40)
    assert made.deciding() == [difference(made, "a")]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"sets": {"test": rows(41)}}, "their rows (40 and 41, of which 40 are the same; only in b: test.jsonl:40)"),
        ({"sets": {"test": rows()[::-1]}}, "the order of the rows"),
        ({"overrides": ["evaluator.exact_match.normalise=true"]}, "evaluator.exact_match.normalise (False and True)"),
        (
            {"sets": {"test": rows(41)}, "record": {"versions": {"tuneforge": "0.0.9"}}},
            "their rows (40 and 41, of which 40 are the same; only in b: test.jsonl:40); tuneforge 0.1.0 and 0.0.9",
        ),
    ],
)
def test_another_protocol_is_refused_by_name(tmp_path: Path, second: dict[str, Any], said: str) -> None:
    made = compare(contestants(two(tmp_path, **second)))
    assert made.refusals == [f"test.test (exact_match): a and b differ in {said}"]
    assert made.rows == []


def test_defaults_are_no_other_settings_and_what_cannot_be_told_is_not_made_up(tmp_path: Path) -> None:
    paths = two(tmp_path)
    config = yaml.safe_load((tmp_path / "b" / "config.yaml").read_text())
    (tmp_path / "b" / "config.yaml").write_text(yaml.safe_dump(config | {"evaluator": {}}))
    assert compare(contestants(paths)).refusals == []
    metrics = (tmp_path / "b" / "metrics.json").read_text()
    protocol = json.loads(metrics)["rows"][0]["protocol"]
    (tmp_path / "b" / "metrics.json").write_text(metrics.replace(protocol, "other"))
    (refusal,) = compare(contestants(paths)).refusals
    assert refusal.endswith(
        "a and b differ in what neither config nor samples.jsonl tells: decoding, classes, kept columns, versions of"
        " what scores"
    )


def test_only_sets_that_all_have_are_compared(tmp_path: Path) -> None:
    paths = two(tmp_path, sets={"test": rows(), "news": rows(12, "news")})
    made = compare(contestants(paths))
    assert {r["set"] for r in made.rows} == {"test"}, "nor are they pooled"
    assert made.notes == ["measured only in b: test.news (exact_match)"]
    assert made.refusals == []


def test_sets_that_all_have_are_pooled_as_in_a_run(tmp_path: Path) -> None:
    sets = {"sets": {"test": rows(), "news": rows(12, "news")}}
    first = run(tmp_path / "a", {"tuned": right(5)}, **sets)
    other = run(tmp_path / "b", {"tuned": right(8)}, **sets)
    made = compare(contestants([str(first), str(other)]))
    assert difference(made, "b", POOLED)["value"] == pytest.approx(6 / 52)
    assert made.notes == []


def test_models_that_evaluate_measured_are_contestants_each(tmp_path: Path) -> None:
    folder = run(tmp_path / "e", {"x": right(3), "y": right(9)}, record={"command": "evaluate"})
    found = contestants([str(folder)])
    assert [one.name for one in found] == ["x", "y"]
    assert difference(compare(found), "y")["value"] == pytest.approx(6 / 40)
    other = run(tmp_path / "r", {"tuned": right(9)})
    assert [one.name for one in contestants([str(folder), str(other)])] == ["e:x", "e:y", "r"]


def test_a_run_without_numbers_stands_with_its_status(tmp_path: Path) -> None:
    paths = two(tmp_path)
    gone = run(tmp_path / "c", {"tuned": right(3)}, record={"status": "failed", "error": "no room left"})
    (gone / "metrics.json").unlink()
    made = compare(contestants([str(gone), *paths]))
    assert made.against == "a"
    assert [r["status"] for r in as_json(made)["runs"]] == ["failed: no room left", "finished", "finished"]
    assert len(made.rows) == 3


@pytest.mark.parametrize("name", ["metrics.json", "run.json", "samples.jsonl"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    paths = two(tmp_path)
    with (tmp_path / "b" / name).open("a") as file:
        file.write('{"half')
    with pytest.raises(TuneForgeError, match=f"b/{name}.* is damaged"):
        contestants(paths)


def test_answers_that_do_not_give_the_recorded_number_are_not_subtracted(tmp_path: Path) -> None:
    paths = two(tmp_path)
    path = tmp_path / "b" / "samples.jsonl"
    path.write_text(path.read_text().replace('"exact_match.exact_match": 0.0', '"exact_match.exact_match": 1.0'))
    made = compare(contestants(paths))
    assert made.notes == ["exact_match.exact_match on test.test: cannot be made again from samples.jsonl"]
    assert [(r["model"], r["versus"], r["value"]) for r in made.rows] == [("a", "", 0.25), ("b", "", 0.625)]


def test_without_samples_numbers_stand_without_differences(tmp_path: Path) -> None:
    paths = two(tmp_path)
    (tmp_path / "b" / "samples.jsonl").unlink()
    made = compare(contestants(paths))
    assert made.notes == ["exact_match on test.test: no samples.jsonl in b"]
    assert [r["value"] for r in made.rows] == [0.25, 0.625]
    assert made.disagreements is None


def test_rows_that_are_other_than_the_protocol_says_are_an_error(tmp_path: Path) -> None:
    paths = two(tmp_path)
    path = tmp_path / "b" / "samples.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(TuneForgeError, match="hold other rows under one protocol"):
        compare(contestants(paths))


def test_where_they_disagree(tmp_path: Path) -> None:
    third = run(tmp_path / "c", {"tuned": lambda i: f"answer {i}" if i % 2 else "no"})
    made = compare(contestants([*two(tmp_path), str(third)]))
    apart = made.disagreements
    assert apart is not None
    right_at = np.array([[i < 10, i < 25, i % 2 == 1] for i in range(40)])
    assert len(apart.rows) == sum(len(set(one)) > 1 for one in right_at.tolist())
    assert apart.total == 40
    assert apart.against("b", "a") == (15, 0)
    assert apart.against("c", "a") == (15, 5)
    assert apart.rows[0].answers["a"] == "answer 0"


def test_rows_of_text_are_better_where_they_have_fewer_bits(tmp_path: Path) -> None:
    metric = {"model": "tuned", "versus": "", "evaluator": "perplexity", "metric": "bits_per_byte"}

    def contestant(name: str, nats: float) -> Contestant:
        scores = {"tuned": {"perplexity.nats": nats, "perplexity.bytes": 10.0}}
        sample = {"split": "test", "set": "text", "id": "1", "scores": scores}
        return Contestant(name, tmp_path, metrics={"rows": [metric | {"higher_is_better": False}]}, samples=[sample])

    apart = disagreements([contestant("a", 50.0), contestant("b", 40.0)], Place("perplexity", "test", "text"))
    assert apart.against("b", "a") == (1, 0)


def test_rows_of_the_set_that_another_evaluator_scored_are_no_rows_of_this_one(tmp_path: Path) -> None:
    paths = two(tmp_path)
    further = {"set": "test", "split": "test", "id": "x", "role": "target", "group": "", "answers": {}}
    with (tmp_path / "b" / "samples.jsonl").open("a") as lines:
        lines.write(json.dumps(further | {"scores": {"tuned": {"perplexity.nats": 1.0}}}) + "\n")
    apart = compare(contestants(paths)).disagreements
    assert apart is not None
    assert (apart.total, len(apart.rows)) == (40, 15)


def test_what_was_set_and_trained_on_differently(tmp_path: Path) -> None:
    data = {"rows": 91, "fingerprint": "xyz", "sets": {}}
    paths = two(tmp_path, overrides=["optimizer.learning_rate=0.5", "seed=7"], record={"data": data})
    made = compare(contestants(paths))
    assert made.config == [("seed", ["0", "7"]), ("optimizer.learning_rate", ["null", "0.5"])]
    assert made.data == [("training rows", ["90", "91"]), ("training data", ["abc", "xyz"])]
    assert compare(contestants([paths[0], str(run(tmp_path / "d", {"tuned": right(2)}))])).config == []


def test_secrets_stay_references(tmp_path: Path) -> None:
    paths = two(tmp_path)
    for name, variable in (("a", "ONE"), ("b", "TWO")):
        path = tmp_path / name / "config.yaml"
        config = yaml.safe_load(path.read_text()) | {"max_quarantined": f"${{oc.env:{variable}}}"}
        path.write_text(yaml.safe_dump(config))
    (found,) = compare(contestants(paths)).config
    assert found == ("max_quarantined", ["${oc.env:ONE}", "${oc.env:TWO}"])


def test_a_config_of_another_version_is_read_for_its_evaluators_alone(tmp_path: Path) -> None:
    paths = two(tmp_path)
    path = tmp_path / "a" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(config | {"a_key_of_tomorrow": 1, "baseline": "of another form"}))
    assert difference(compare(contestants(paths)), "b")["value"] == pytest.approx(15 / 40)
    config["evaluator"] = {"exact_match": {"of_tomorrow": True}}
    path.write_text(yaml.safe_dump(config))
    made = compare(contestants(paths))
    assert [r["versus"] for r in made.rows] == ["", ""]
    assert "evaluator.exact_match: Key 'of_tomorrow'" in made.notes[0]
    (tmp_path / "a" / "types.json").write_text("{")
    with pytest.raises(TuneForgeError, match="the saved config is damaged"):
        compare(contestants(paths))


def test_names_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    for place in ("x/one", "y/one", "y/two"):
        run(tmp_path / place, {"tuned": right(1)})
    found = contestants([str(tmp_path / p) for p in ("x/one", "y/one", "y/two")])
    assert [one.name for one in found] == ["x/one", "y/one", "two"]


def test_paths_that_hold_nothing_to_compare(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", {"tuned": right(1)})
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "empty").mkdir()
    for paths, said in (
        (["a", "link"], "is named twice"),
        (["nowhere"], "there is no such directory"),
        (["empty"], "holds no run.json"),
    ):
        with pytest.raises(ConfigError, match=said):
            contestants([str(tmp_path / p) for p in paths])


def test_a_grid_is_its_points(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        run(tmp_path / "grid" / f"{number}-seed={number}", {"tuned": right(number)})
    (tmp_path / "grid" / "comparison.json").write_text("{}")
    assert [one.name for one in contestants([str(tmp_path / "grid")])] == ["0-seed=0", "2-seed=2", "10-seed=10"]


def test_places_of_training_rows_are_left_out_where_the_data_differs(tmp_path: Path) -> None:
    found = contestants(two(tmp_path))
    for one, protocol in zip(found, "pq", strict=True):
        one.metrics["rows"].append(one.rows[0] | {"split": "train", "set": "train", "protocol": protocol})
    here = places(found)
    assert here.refusals == []
    assert here.left_out == ["train.train (exact_match): other rows trained in b"]


def test_what_is_written(tmp_path: Path) -> None:
    made = compare(contestants(two(tmp_path)))
    write(tmp_path, made)
    written = json.loads((tmp_path / "comparison.json").read_text())
    assert written["against"] == "a"
    assert written["runs"][0]["cost"]["tokens"] == 38801
    assert written["disagreements"]["count"] == 15
    assert len((tmp_path / "comparison.csv").read_text().splitlines()) == 1 + len(written["rows"])
