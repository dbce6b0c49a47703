"""Tasks of lm-evaluation-harness on a model in memory, held against the harness's own run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuneforge.components import Role
from tuneforge.errors import ConfigError
from tuneforge.evaluator.lm_eval import LmEval
from tuneforge.rows import HeldOut

pytest.importorskip("lm_eval", reason="needs tuneforge[lm-eval]")
pytestmark = [
    pytest.mark.shared,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
TASKS = {
    "pick": """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
doc_to_choice: "{{choices}}"
num_fewshot: 2
fewshot_split: test
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "say": """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{word}}"
generation_kwargs: {until: ["\\n"], do_sample: false, max_gen_toks: 12}
filter_list:
  - {name: whole, filter: [{function: take_first}]}
  - {name: word, filter: [{function: regex, regex_pattern: "([a-z]+)"}, {function: take_first}]}
metric_list: [{metric: exact_match, ignore_case: true, ignore_punctuation: true}]
""",
    "story": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{story}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
""",
    "last": """
output_type: loglikelihood
doc_to_text: "{{question}}"
doc_to_target: " {{word}}"
metric_list: [{metric: perplexity}, {metric: acc}]
""",
    "corpus": """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{word}}"
generation_kwargs: {until: ["\\n"], do_sample: false, max_gen_toks: 4}
metric_list: [{metric: bleu}]
""",
    "hub": "output_type: loglikelihood\ndataset_path: someone/somewhere\ndoc_to_text: a\ndoc_to_target: b\n",
}
DOCUMENTS = [
    {
        "question": q,
        "choices": ["dog", "big red ball", "the"],
        "answer": i % 3,
        "word": w,
        "story": f"{q} {w}. The end.",
    }
    for i, (q, w) in enumerate(
        [("Once upon a", "time"), ("Lily had a", "dog"), ("Tom was very", "happy"), ("They went to the", "park")]
        + [(f"One day, {name} saw a", "cat") for name in ("Ben", "Sue", "Max", "Mia", "Tim", "Amy", "Jack")]
    )
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tasks")
    (path / "documents.jsonl").write_text("".join(json.dumps(one) + "\n" for one in DOCUMENTS))
    local = "dataset_path: json\ndataset_kwargs: {data_files: {test: documents.jsonl}}\ntest_split: test\n"
    for name, text in TASKS.items():
        where = "test_split: test\n" if "dataset_path" in text else local
        (path / f"{name}.yaml").write_text(f"task: {name}\n{where}{text}")
    return str(path)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        yield


class Notes:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture(scope="module")
def lm(shared: Path) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tuneforge.evaluation.lm import HFLM

    path = shared / "models/stories260K"
    tokenizer = AutoTokenizer.from_pretrained(path)
    return HFLM("base", AutoModelForCausalLM.from_pretrained(path).float(), tokenizer)


def measured(evaluator: LmEval, lm: Any, held: HeldOut) -> dict[str, float]:
    found = list(evaluator.measure(lm, held.rows, Notes()))  # type: ignore[arg-type]
    assert len(found) == len(held.rows)
    return dict(evaluator.aggregate({key: np.array([one[key] for one in found]) for key in found[0]}))


@pytest.fixture(scope="module")
def theirs(shared: Path, folder: str) -> dict[str, Any]:
    """What the harness says itself, of the model on disk."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    with chdir(folder):
        found = simple_evaluate(
            "hf", model_args={"pretrained": str(shared / "models/stories260K"), "dtype": "float32"}, device="cpu",
            tasks=["pick", "say", "story", "last"], bootstrap_iters=0, batch_size=1,
            task_manager=TaskManager(include_path=".", include_defaults=False),
        )  # fmt: skip
    return dict(found["results"])


@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        ("pick", {"acc": "acc,none", "acc_norm": "acc_norm,none"}),
        ("say", {"exact_match,whole": "exact_match,whole", "exact_match,word": "exact_match,word"}),
        ("story", {name: f"{name},none" for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")}),
        ("last", {"perplexity": "perplexity,none", "acc": "acc,none"}),
    ],
)
def test_figures_are_the_harness_own(
    lm: Any, folder: str, theirs: dict[str, Any], task: str, metrics: dict[str, str]
) -> None:
    evaluator = LmEval(tasks=[task], folder=folder)
    (held,) = evaluator.brings(Notes())  # type: ignore[arg-type]
    assert (held.name, held.split, held.role, len(held.rows)) == (task, "test", Role.general, len(DOCUMENTS))
    lm.model.train()
    measured(evaluator, lm, held)  # another variant first: nothing of it is left
    assert measured(evaluator, lm, held) == pytest.approx(
        {ours: theirs[task][its] for ours, its in metrics.items()}, rel=1e-6
    )
    assert lm.model.training
    assert {metric.name for metric in evaluator.metrics} == metrics.keys()
    assert all(m.higher_is_better is (m.name in ("acc", "acc_norm") or "match" in m.name) for m in evaluator.metrics)


def test_something_is_right_and_something_wrong(theirs: dict[str, Any]) -> None:
    """Else equal figures would say little."""
    assert 0 < theirs["pick"]["acc,none"] < 1
    assert theirs["say"]["exact_match,whole"] != theirs["say"]["exact_match,word"]


def test_tasks_with_other_metrics_share_an_evaluator(lm: Any, folder: str) -> None:
    notes = Notes()
    evaluator = LmEval(tasks=["pick", "corpus", "last"], folder=folder, limit=3, shots=0)
    sets = evaluator.brings(notes)  # type: ignore[arg-type]
    assert [(held.name, len(held.rows)) for held in sets] == [("pick", 3), ("corpus", 3), ("last", 3)]
    assert notes.texts == ["lm_eval leaves out metrics that are no means of documents: corpus: bleu"]
    found = measured(evaluator, lm, sets[0])
    assert found["acc"] >= 0
    assert np.isnan(found["perplexity"])
    first = sets[0].rows[0]
    assert (first.columns["prompt"], first.columns["completion"]) == ("Once upon a", "dog")
    assert evaluator.brings(notes) == sets  # type: ignore[arg-type]


def test_the_seeds_of_the_run_are_left_alone(lm: Any, folder: str) -> None:
    import torch

    evaluator = LmEval(tasks=["last"], folder=folder, limit=2)
    (held,) = evaluator.brings(Notes())  # type: ignore[arg-type]
    torch.manual_seed(7)
    measured(evaluator, lm, held)
    drawn = torch.rand(2)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(2))


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (["pik"], r"no task 'pik' in .* \(.*pick.*\). Did you mean 'pick'"),
        (["hub"], "evaluator.lm_eval.tasks=hub: .*someone/somewhere"),
        (["corpus"], r"no task has a metric that is reported \(corpus: bleu\)"),
    ],
)
def test_what_is_no_task_is_said(folder: str, tasks: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        LmEval(tasks=tasks, folder=folder).brings(Notes())  # type: ignore[arg-type]


def test_a_folder_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"evaluator.lm_eval.folder=/absent: no such folder"):
        LmEval(tasks=["a"], folder="/absent").brings(Notes())  # type: ignore[arg-type]
