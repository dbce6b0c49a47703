"""strategy=multitask: which task a row goes to, the mixture, the loss, references, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training import small
from tuneforge import announce, saved
from tuneforge.composition import compose_config
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError, DataRefused
from tuneforge.model.tiny import Tiny
from tuneforge.optimizer.sgd import Sgd
from tuneforge.preparation.weights import weighted
from tuneforge.rows import Encoded, Rejected, Row
from tuneforge.scheduler.constant import Constant
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.instruction import Instruction
from tuneforge.strategy.multitask import Multitask
from tuneforge.strategy.sft import Sft
from tuneforge.training.fit import fit
from tuneforge.training.text.encode import encode

ASKED = [
    {"prompt": "Reset my VPN, please.", "completion": "network"},
    {"prompt": "Hello there, how are you today?", "completion": "The answer is forty-two."},
    {"prompt": "Queue", "completion": "urgency: 2"},
]
PREFERRED = [
    {"prompt": "The answer", "chosen": "is forty-two.", "rejected": "is a dog"},
    {"prompt": "Once upon a time", "chosen": "there was a little dog", "rejected": "no"},
    {"prompt": "Hello", "chosen": "there", "rejected": "Reset my VPN"},
]
TEXTS = [{"text": "Once upon a time there was a little dog who liked to play in the park " * n} for n in (1, 2, 9)]


def rows(*groups: list[dict[str, Any]]) -> list[Row]:
    """Of each group a source `data.a`, `data.b`, …"""
    return [
        Row(columns=columns, source=f"data.{'abc'[n]}", file="t.jsonl", line=i + 1, id=f"{n}{i}")
        for n, group in enumerate(groups)
        for i, columns in enumerate(group)
    ]


def both(**fields: Any) -> Multitask:
    return Multitask(tasks={"chat": Sft(), "prefs": Dpo(beta=0.5)}, **fields)


def trained(folder: Path, make_run: Any, strategy: Multitask, found: list[Row], **values: Any) -> Any:
    made, _ = make_run()
    plain = {"optimizer": Sgd(momentum=0.0), "optimizer__learning_rate": 0.3, "trainer__max_epochs": None}
    run = small.settings(strategy, **plain | {"trainer__max_steps": 2, "batch__size": 6} | values)
    run.model, run.scheduler = made.model, Constant(warmup=0)
    context = RunContext(run, folder)
    loaded = run.model.load("causal_lm", context)
    encoded = encode(run, found, loaded.tokenizer, context)
    assert not encoded.rejected
    return fit(run, loaded, encoded, None, False, context)


@torch.no_grad()
def apart(one: Any, other: Any) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# ---------------------------------------------------------------- rows and mixture


def test_rows_go_to_the_task_of_their_source_else_to_the_first_that_takes_them() -> None:
    strategy = both(sources={"c": "prefs"})
    found = rows(ASKED, PREFERRED, [ASKED[0] | PREFERRED[0]])
    assert [strategy.share(row) for row in found] == ["chat"] * 3 + ["prefs"] * 3 + ["prefs"]
    assert both().share(found[-1]) == "chat"
    assert strategy.share(rows(TEXTS)[0]) == ""


def test_encodings_are_those_of_the_tasks_and_nothing_is_lost(make_run: Any, tokenizer: Any) -> None:
    strategy = both(sources={"c": "prefs"})
    _, context = make_run(strategy=strategy)
    mixed = rows([ASKED[0]], [PREFERRED[0]], [ASKED[1]])
    found = list(strategy.encode([*mixed, *rows(TEXTS[:1])], tokenizer, context))
    [alone] = Sft().encode([mixed[0]], tokenizer, context)
    assert isinstance(alone, Encoded)
    assert found[0] == Encoded({f"chat.{name}": ids for name, ids in alone.parts.items()})
    assert sorted(found[1].parts) == [  # type: ignore[union-attr]
        "prefs.chosen.input_ids", "prefs.chosen.labels", "prefs.rejected.input_ids", "prefs.rejected.labels",
    ]  # fmt: skip
    assert isinstance(found[2], Rejected)
    assert found[2].reason.startswith("task prefs: needs prompt, chosen and rejected, the row has prompt, completion")
    assert isinstance(found[3], Rejected)
    assert found[3].reason == ("no task takes it: chat needs completion, prefs needs preference; the row has text")


def test_long_texts_are_cut_by_the_task_that_cuts_and_only_by_it(make_run: Any, tokenizer: Any) -> None:
    strategy = Multitask(tasks={"text": Clm(), "chat": Instruction()})
    run, context = make_run(strategy=strategy)
    run.batch.max_length = 64
    long = {"prompt": TEXTS[2]["text"], "completion": "x"}
    found = encode(run, rows(TEXTS, [ASKED[0], long]), tokenizer, context)
    assert found.chunked == 1
    assert all(next(iter(row.parts)).startswith("text.") for row in found.rows[2:-1])
    [lost] = found.rejected
    assert lost.row.columns is long
    assert lost.reason.startswith("too long")


def test_temperature_flattens_the_mixture_and_keeps_the_epoch(make_run: Any, capsys: Any) -> None:
    counts = {"chat": 800, "prefs": 200}
    assert both().epoch_weights(counts) == {}
    found = both(temperature=2.0).epoch_weights(counts)
    share = 800**0.5 / (800**0.5 + 200**0.5)
    assert found["chat"] == pytest.approx(1000 * share / 800)
    assert found["prefs"] == pytest.approx(1000 * (1 - share) / 200)
    flat = both(temperature=1e9).epoch_weights(counts)
    assert flat["prefs"] * 200 == pytest.approx(flat["chat"] * 800, rel=1e-6)

    run, context = make_run(strategy=both(temperature=2.0))
    many = [*rows(ASKED * 20), *(row for row in rows([], PREFERRED * 5))]
    mixed = weighted(run, many, context)
    assert Counter(run.strategy.share(row) for row in mixed) == {"chat": 50, "prefs": 25}
    assert context.notes[-1]["text"] == "rows per epoch: chat 50 (67%), prefs 25 (33%)"
    assert "rows per epoch" in capsys.readouterr().out
    assert weighted(run, many, context) == mixed, "the draw is seeded"


# ---------------------------------------------------------------- loss


@torch.no_grad()
def test_the_loss_is_the_tasks_per_mean_row(make_run: Any, tmp_path: Path) -> None:
    """Against the two objectives by themselves, in float64."""
    from tuneforge.training.step import TrainingStep

    strategy = both(weights={"prefs": 3.0})
    run, context = make_run(strategy=strategy)
    model, tokenizer = run.model.load("causal_lm", context)
    found = encode(run, rows(ASKED, PREFERRED), tokenizer, context)
    step = TrainingStep(run, model.double(), tokenizer, context)
    strategy.begin(found.rows, step)
    extra = {"reference.prefs.chosen": -3.0, "reference.prefs.rejected": -4.0}
    items = [row._replace(extras=extra) if "prefs.chosen.labels" in row.parts else row for row in found.rows]
    order = [3, 0, 4, 1, 5]
    step.rows = [found.sources[i] for i in order]
    loss = strategy.loss(model, strategy.collate([items[i] for i in order], 0), step)

    def alone(task: Any, columns: list[Any], extras: Any = ()) -> Any:
        encoded = [row._replace(extras=dict(extras)) for row in task.encode(rows(columns), tokenizer, context)]
        return task.loss(model, task.collate(encoded, 0), step), [task.loss_items(row) for row in encoded]

    chat, _ = alone(Sft(), ASKED[:2])
    _, tokens = alone(Sft(), ASKED)
    prefs, _ = alone(Dpo(beta=0.5), PREFERRED, {"reference.chosen": -3.0, "reference.rejected": -4.0})
    assert float(loss.total) == pytest.approx(float(chat.total) / (sum(tokens) / 3) + 3 * float(prefs.total), rel=1e-6)
    assert loss.items == 5
    assert loss.logs["chat/loss"].tolist() == pytest.approx([float(chat.total), float(chat.items)])
    assert loss.logs["prefs/loss"].tolist() == pytest.approx([float(prefs.total), 3])
    assert loss.logs["prefs/rewards/margins"][1] == 3


@pytest.mark.parametrize("kind", ["sft and dpo", "clm and instruction"])
def test_a_step_cut_into_micro_batches_is_the_step(kind: str, make_run: Any, tmp_path: Path) -> None:
    if kind == "sft and dpo":
        strategy, found = both(), rows(ASKED, PREFERRED)
    else:
        strategy, found = Multitask(tasks={"text": Clm(), "chat": Instruction()}), rows(TEXTS[:2], ASKED)
    n = len(found)
    whole = trained(tmp_path / "whole", make_run, strategy, found, batch__size=n)
    cut = trained(tmp_path / "cut", make_run, strategy, found, batch__size=1, batch__global_size=n)
    assert apart(whole.model, cut.model) < 1e-6
    start = make_run()[0].model.load("causal_lm", make_run()[1]).model
    assert apart(whole.model, start) > 1e-3
    names = [name for name in whole.history[0] if name.endswith("/loss")]
    assert names == [f"{task}/loss" for task in sorted(strategy.tasks)]
    for name in names:
        assert whole.history[0][name] == pytest.approx(cut.history[0][name], rel=1e-5)


def test_a_task_sums_over_its_own_batches_of_a_step(make_run: Any, tmp_path: Path) -> None:
    """CPO's likelihood term divides by what the whole step holds, of which some forward passes hold nothing of it."""
    from tuneforge.strategy.cpo import Cpo

    strategy = Multitask(tasks={"chat": Sft(), "prefs": Cpo()})
    found = rows(ASKED, PREFERRED)
    whole = trained(tmp_path / "whole", make_run, strategy, found)
    cut = trained(tmp_path / "cut", make_run, strategy, found, batch__size=1, batch__global_size=6)
    assert apart(whole.model, cut.model) < 1e-6


def test_resumed_it_is_the_same_run(make_run: Any, tmp_path: Path) -> None:
    found = rows(ASKED, PREFERRED)
    values = {"batch__size": 2, "checkpoint__every": 2}
    straight = trained(tmp_path / "a", make_run, both(), found, trainer__max_steps=4, **values)
    trained(tmp_path / "b", make_run, both(), found, trainer__max_steps=2, **values)
    resumed = trained(
        tmp_path / "b", make_run, both(), found, trainer__max_steps=4, resume=str(tmp_path / "b"), **values
    )
    assert resumed.resumed_from == 2
    assert apart(straight.model, resumed.model) == 0


def test_a_task_without_rows_is_refused(make_run: Any, tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=r"strategy.tasks.prefs has no training row \(chat needs completion; prefs"):
        trained(tmp_path, make_run, both(), rows(ASKED))


# ---------------------------------------------------------------- config

TWO = ["strategy=multitask", "+strategy@strategy.tasks.chat=sft", "+strategy@strategy.tasks.prefs=dpo"]


def test_tasks_are_chosen_like_components_and_come_back_from_the_saved_config(tmp_path: Path) -> None:
    composed = compose_config(
        [*TWO, "strategy.tasks.prefs.beta=0.3", "+strategy.sources={helpdesk: prefs}", "+strategy.weights.chat=2"]
    )
    strategy = composed.run.strategy
    assert isinstance(strategy, Multitask)
    assert strategy.tasks == {"chat": Sft(), "prefs": Dpo(beta=0.3)}
    assert (strategy.sources, strategy.weights) == ({"helpdesk": "prefs"}, {"chat": 2.0})
    assert composed.choices["strategy"] == "multitask"
    assert (strategy.reference, strategy.learning_rate) == (True, Dpo.learning_rate)
    assert strategy.record == "completion or preference"
    assert strategy.evaluators[:2] == Sft.evaluators[:2]
    assert "preference_accuracy" in strategy.evaluators
    saved.save(tmp_path, composed)
    types = json.loads((tmp_path / "types.json").read_text())
    assert (types["strategy.tasks.chat"], types["strategy.tasks.prefs"]) == ("strategy/sft", "strategy/dpo")
    assert saved.load(tmp_path) == composed.run


def test_a_file_can_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "mixed.yaml").write_text(
        "defaults:\n"
        "  - /strategy@strategy.tasks.chat: sft\n"
        "  - /strategy@strategy.tasks.prefs: dpo\n"
        "  - override /strategy: multitask\n"
        "  - override /data: [helpdesk]\n"
        "strategy: {sources: {helpdesk: prefs}, temperature: 2, tasks: {prefs: {beta: 0.3}}}\n"
    )
    strategy = compose_config(file=tmp_path / "mixed.yaml").run.strategy
    assert strategy == Multitask(
        tasks={"chat": Sft(), "prefs": Dpo(beta=0.3)}, sources={"helpdesk": "prefs"}, temperature=2.0
    )


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["strategy=multitask"], "0 named, and 2 or more are needed; add one with +strategy@strategy.tasks.NAME=sft"),
        ([*TWO, "+strategy@strategy.tasks.words=mlm"], "chat causal_lm, prefs causal_lm, words masked_lm"),
        ([*TWO, "+strategy@strategy.tasks.more=multitask"], "tasks.more: a task cannot hold tasks itself"),
        ([*TWO, "strategy.tasks.prefs.beta=-1"], "tasks.prefs: strategy.beta=-1"),
        ([*TWO, "+strategy.sources.helpdes=prefs"], "no such source (general_test, helpdesk"),
        ([*TWO, "+strategy.sources.helpdesk=pref"], "no such task (chat, prefs). Did you mean 'prefs'?"),
        ([*TWO, "+strategy.weights.chatt=1"], "Did you mean 'chat'?"),
        ([*TWO, "strategy.temperature=0"], "must be above 0"),
        ([*TWO, "strategy.sources.helpdesk=prefs"], "add it with +strategy.sources.helpdesk=VALUE"),
        ([*TWO, "strategy.tasks.x.beta=1"], "add it with +strategy@strategy.tasks.x=NAME"),
        ([*TWO, "+strategy.tasks.x.beta=1"], "choose one first with +strategy@PLACE.x=NAME"),
        ([*TWO, "+strategy.tasks.chat.typo=1"], "strategy.tasks.chat.typo: there is no such key"),
        ([*TWO, "+strategy@strategy.tasks.g=gropo"], "strategy=gropo: there is no such strategy. Did you mean 'grpo'?"),
        (
            [*TWO, "+strategy@strategy.tasks.g=grpo", "strategy.tasks.g.rewards=[exact_match]"],
            "tasks.g: loss_type=dapo divides by tokens that only sampling tells; take grpo or dr_grpo",
        ),
        ([*TWO, "batch.packing=on"], "cannot be packed"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose_config(overrides)
    assert said in str(refused.value)


def test_sampled_answers_are_a_task_too(make_run: Any, tmp_path: Path) -> None:
    from tuneforge.evaluator.answer_length import AnswerLength, Unit
    from tuneforge.strategy.grpo import Grpo, LossType

    sampled = Grpo(rewards=["short"], generations=4, max_tokens=5, loss_type=LossType.dr_grpo)
    strategy = Multitask(tasks={"text": Clm(), "sampled": sampled})
    judge = {"short": AnswerLength(most=1, slack=25, unit=Unit.characters)}
    line = trained(tmp_path, make_run, strategy, rows(TEXTS[:2], ASKED), evaluator=judge).history[0]
    assert 0 < line["sampled/reward"] < 1
    assert 0 < line["sampled/completion_tokens"] <= 5
    assert line["text/loss"] > 4


def test_the_smallest_learning_rate_is_said_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    run = small.settings(Multitask(tasks={"chat": Sft(), "taste": Dpo()}), optimizer__learning_rate=None, model=Tiny())
    announce.defaults(run, [])
    said = " ".join(capsys.readouterr().out.split())
    assert f"(multitask {Dpo.learning_rate:g}, the smallest of chat {Sft.learning_rate:g}, taste" in said
