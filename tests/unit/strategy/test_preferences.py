"""Preference strategies: what they encode, refuse, say and log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training import small
from tuneforge.adapter.full import Full
from tuneforge.adapter.lora import Lora
from tuneforge.evaluator.reward_accuracy import RewardAccuracy
from tuneforge.rows import HeldOut, Row
from tuneforge.settings import Run
from tuneforge.strategy.cpo import Cpo, CpoLoss
from tuneforge.strategy.dpo import Divergence, Dpo, PairLoss
from tuneforge.strategy.kto import Kto, KtoLoss
from tuneforge.strategy.reward import Reward
from tuneforge.strategy.simpo import Simpo
from tuneforge.training.text.encode import encode
from tuneforge.training.text.held_out import watched

PAIR = {"prompt": "Reset my VPN", "chosen": "Done.", "rejected": "No."}


class Limited:
    """A model that says how long its context is."""

    def config(self) -> dict[str, int]:
        return {"max_position_embeddings": 40}


class Noted:
    """A context that keeps what is said."""

    def __init__(self, run: Run | None = None) -> None:
        self.run, self.notes = run, []

    def note(self, text: str, **numbers: float) -> None:
        self.notes.append((text, numbers))


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        (Dpo(beta=0.0), "strategy.beta=0.0 must be above 0"),
        (Dpo(loss_type=PairLoss.hinge, label_smoothing=0.1), "hinge takes none (sigmoid, exo_pair, robust,"),
        (Dpo(loss_type=PairLoss.exo_pair), "exo_pair needs more than 0; its paper recommends 1e-3"),
        (
            Dpo(loss_type=PairLoss.sppo_hard, divergence=Divergence.forward_kl),
            "sppo_hard uses more than the difference",
        ),
        (Dpo(also=[PairLoss.sigmoid]), "strategy.also names a loss twice: sigmoid, sigmoid"),
        (Dpo(weights=[1.0, 2.0]), "strategy.weights has 2 numbers for 1 losses (sigmoid)"),
        (Dpo(discopop_tau=0.0), "strategy.discopop_tau=0.0 must be above 0"),
        (Simpo(gamma=-1.0), "strategy.gamma=-1.0 must be 0 or more"),
        (Cpo(loss_type=CpoLoss.hinge, label_smoothing=0.1), "hinge takes none (sigmoid, simpo do)"),
        (Cpo(nll_weight=-1.0), "strategy.nll_weight=-1.0 must be 0 or more"),
        (Kto(undesirable_weight=-1.0), "strategy.undesirable_weight=-1.0 must be 0 or more"),
        (Reward(center_rewards_coefficient=-1.0), "strategy.center_rewards_coefficient=-1.0 must be 0 or more"),
    ],
)
def test_values_that_make_no_sense_are_refused(strategy: Any, reason: str) -> None:
    (found,) = strategy.check(small.settings(strategy))
    assert reason in found


@pytest.mark.parametrize("loss", [PairLoss.aot, PairLoss.aot_unpaired])
def test_a_loss_that_sorts_pairs_refuses_a_step_that_is_cut(loss: PairLoss) -> None:
    strategy = Dpo(loss_type=loss)
    run = small.settings(strategy, batch__size=2, batch__global_size=8)
    (reason,) = strategy.check(run)
    assert reason.startswith(f"{loss} sorts the pairs of a forward pass, so a step cut into 4 of them")
    assert list(strategy.fits(None, Noted(run))) == [reason]  # type: ignore[arg-type]
    whole = small.settings(strategy, batch__size=8)
    assert [*strategy.check(whole), *strategy.fits(None, Noted(whole))] == []  # type: ignore[arg-type]


def test_kto_splits_pairs_and_says_how_many_and_what_is_out_of_balance() -> None:
    context = Noted()
    single = Row(columns={"prompt": "a", "completion": "b", "label": True}, line=7)
    rows = Kto().examples([Row(columns=PAIR, line=3), single, single], context)  # type: ignore[arg-type]
    assert [(r.line, r.columns["completion"], r.columns["label"]) for r in rows] == [
        (3, "Done.", True), (3, "No.", False), (7, "b", True), (7, "b", True),
    ]  # fmt: skip
    assert context.notes[0] == ("1 preference pairs became 2 rows with a label", {"pairs": 1})
    assert "3 desirable and 1 undesirable rows weigh 3 to 1; strategy.undesirable_weight=3" in context.notes[1][0]
    even = Noted()
    Kto(undesirable_weight=3.0).examples([*rows], even)  # type: ignore[arg-type]
    assert even.notes == []


def test_what_kto_makes_of_pairs_is_said_of_each_set(tokenizer: Any, tmp_path: Path) -> None:
    run = small.settings(Kto())
    run.model = Limited()  # type: ignore[assignment]
    context = small.context(run, tmp_path)
    rows = [Row(columns=PAIR | {"prompt": f"Hello {i}"}, file="a", line=i) for i in range(3)]
    held = [HeldOut("mine", "validation", "target", rows[:2])]
    encode(run, rows, tokenizer, context)
    watched(run, held, tokenizer, context)
    assert [note["text"] for note in context.notes if "pairs became" in note["text"]] == [
        "training: 3 preference pairs became 6 rows with a label",
        "validation: 2 preference pairs became 4 rows with a label",
    ]


def test_kto_pairs_each_prompt_with_an_answer_to_another_that_fits(tokenizer: Any) -> None:
    run = small.settings(Kto())
    run.model = Limited()  # type: ignore[assignment]
    rows = [
        Row(columns={"prompt": p, "completion": c, "label": True})
        for p, c in (("Hello", "Hi."), ("Hello", "Yes."), ("Reset", "Done."), ("Queue", "Once upon a time " * 9))
    ]
    found = list(Kto().encode(rows, tokenizer, Noted(run)))  # type: ignore[arg-type]
    said = [tokenizer.decode([t for t in e.parts["kl.labels"] if t != -100]) for e in found]  # type: ignore[union-attr]
    assert [s.split("<")[0] for s in said] == ["Done.", "Done.", "Yes.", "Done."]
    assert max(len(e.parts["kl.labels"]) for e in found) <= 40  # type: ignore[union-attr]
    kept = tokenizer.decode(found[2].parts["kl.input_ids"])  # type: ignore[union-attr]
    assert "Reset" in kept
    assert "Yes." in kept
    (plain,) = Kto(loss_type=KtoLoss.apo_zero_unpaired).encode(rows[:1], tokenizer, Noted(run))  # type: ignore[arg-type]
    assert set(plain.parts) == {"input_ids", "labels"}  # type: ignore[union-attr]


def test_reward_encodes_whole_conversations_and_their_margin(tokenizer: Any) -> None:
    rows = [Row(columns=PAIR), Row(columns=PAIR | {"margin": 2}), Row(columns={"text": "a"})]
    plain, wide, odd = Reward().encode(rows, tokenizer, None)  # type: ignore[arg-type]
    assert set(plain.parts) == {"chosen.input_ids", "rejected.input_ids"}  # type: ignore[union-attr]
    assert tokenizer.decode(plain.parts["chosen.input_ids"]).count("Done.") == 1  # type: ignore[union-attr]
    assert (plain.extras["margin"], wide.extras["margin"]) == (0.0, 2.0)  # type: ignore[union-attr]
    assert "strategy=clm" in odd.reason  # type: ignore[union-attr]


def test_the_page_shows_every_variant() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/preferences.md").read_text(encoding="utf-8")
    shown = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert set(PairLoss) <= set(shown)
    assert {"dpo", "kto", "simpo", "cpo", "reward"} <= set(shown)


class Rewards:
    """A model under evaluation whose rewards are given."""

    def reward(self, rows: Any, column: str) -> Any:
        return torch.tensor([row.columns[column] for row in rows], dtype=torch.float64).numpy()


def test_reward_accuracy_counts_a_tie_half() -> None:
    rows = [Row(columns={"chosen": c, "rejected": r}) for c, r in ((2.0, 1.0), (0.0, 1.0), (1.0, 1.0))]
    found = list(RewardAccuracy().measure(Rewards(), rows, None))  # type: ignore[arg-type]
    assert [f["reward_accuracy"] for f in found] == [1.0, 0.0, 0.5]
    assert [f["reward_margin"] for f in found] == [1.0, -1.0, 0.0]


@pytest.mark.parametrize("strategy", [Simpo(), Cpo()], ids=lambda s: s.name)
def test_rewards_are_logged_per_pair(strategy: Any, tmp_path: Path) -> None:
    from tuneforge.training.fit import fit

    run = small.settings(strategy, batch__size=4, trainer__max_epochs=1)
    fitted = fit(
        run, small.loaded(small.llama()), small.encoded(small.pairs(8)), None, False, small.context(run, tmp_path)
    )
    for line in fitted.history:
        assert line["rewards/margins"] == pytest.approx(line["rewards/chosen"] - line["rewards/rejected"], abs=1e-5)
        assert line["rewards/accuracies"] in (0, 0.25, 0.5, 0.75, 1)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of PEFT by itself
@pytest.mark.parametrize("adapter", [Full(), Lora(r=4)], ids=["full", "lora"])
@pytest.mark.parametrize("joint", [False, True], ids=["rows", "shared"])
def test_a_longer_answers_rest_that_counts_fully_is_plain_dpo(
    adapter: Any, joint: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuneforge.training.fit import fit
    from tuneforge.training.loss import pairs

    monkeypatch.setattr(pairs, "PAYS", 1.0 if joint else 0.0)
    losses = {}
    for ld_alpha in (None, 1.0, 0.2):
        run = small.settings(
            Dpo(ld_alpha=ld_alpha), adapter, batch__size=4, optimizer__learning_rate=1e-3, trainer__max_steps=4
        )
        context = small.context(run, tmp_path / str(ld_alpha))
        fitted = fit(run, small.loaded(small.llama()), small.encoded(small.pairs(16)), None, False, context)
        losses[ld_alpha] = [line["loss"] for line in fitted.history]
    assert losses[1.0] == pytest.approx(losses[None], abs=1e-5)
    assert losses[0.2][1:] != pytest.approx(losses[None][1:], abs=1e-4)


@pytest.mark.parametrize("ld_alpha", [-0.1, 1.1])
def test_the_weight_of_the_rest_is_a_share(ld_alpha: float) -> None:
    run = small.settings(Dpo(ld_alpha=ld_alpha))
    assert [problem.split(" ")[0] for problem in run.strategy.check(run)] == [f"strategy.ld_alpha={ld_alpha}"]
