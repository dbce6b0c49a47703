"""What each strategy encodes, rejects and optimises."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tuneforge.rows import Encoded, Rejected, Row
from tuneforge.settings import Run
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.instruction import Instruction
from tuneforge.strategy.sft import LossOn, Sft

TURNS = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "Reset my VPN"},
    {"role": "assistant", "content": "Done."},
]
PAIR = {"prompt": "Reset", "chosen": "Done.", "rejected": "No."}


def encoded(strategy: Any, columns: dict[str, Any], tokenizer: Any) -> Any:
    (found,) = strategy.encode([Row(columns=columns)], tokenizer, None)
    return found


def loss_text(found: Encoded, tokenizer: Any, part: str = "") -> str:
    return str(tokenizer.decode([t for t in found.parts[f"{part}labels"] if t != -100]))


def test_sft_trains_the_completion_only(tokenizer: Any) -> None:
    found = encoded(Sft(), {"messages": TURNS}, tokenizer)
    assert loss_text(found, tokenizer) == "Done.<|im_end|>\n"
    found = encoded(Sft(), {"prompt": "Reset", "completion": "Done."}, tokenizer)
    assert loss_text(found, tokenizer) == "Done.<|im_end|>\n"


def test_sft_trains_everything_when_told(tokenizer: Any) -> None:
    found = encoded(Sft(loss_on=LossOn.all), {"messages": TURNS}, tokenizer)
    assert found.parts["labels"] == found.parts["input_ids"]


def test_instruction_trains_every_assistant_turn(tokenizer: Any) -> None:
    found = encoded(Instruction(), {"messages": TURNS}, tokenizer)
    assert loss_text(found, tokenizer) == "Hi.<|im_end|>Done.<|im_end|>"
    unheard = [{**m, "weight": 0} if m["role"] == "assistant" else m for m in TURNS]
    assert encoded(Instruction(), {"messages": unheard}, tokenizer).reason == "no token carries loss"


def test_clm_ends_a_text_with_eos(tokenizer: Any) -> None:
    found = encoded(Clm(), {"text": "Once upon </s>"}, tokenizer)
    assert found.parts["labels"] == found.parts["input_ids"]
    assert found.parts["input_ids"].count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(found.parts["input_ids"]) == "Once upon </s></s>"


def test_dpo_encodes_both_sides(tokenizer: Any) -> None:
    found = encoded(Dpo(), PAIR, tokenizer)
    assert loss_text(found, tokenizer, "chosen.") == "Done.<|im_end|>\n"
    assert loss_text(found, tokenizer, "rejected.") == "No.<|im_end|>\n"
    assert encoded(Dpo(), {**PAIR, "rejected": "Done."}, tokenizer).reason == "chosen and rejected are the same"


@pytest.mark.parametrize(
    ("strategy", "columns", "fits"),
    [
        (Sft(), {"text": "a"}, "fits strategy=clm"),
        (Instruction(), PAIR, "fits strategy=dpo"),
        (Clm(), {"messages": TURNS}, "fits strategy=instruction or strategy=sft"),
        (Dpo(), {"prompt": "a", "completion": "b"}, "fits strategy=instruction or strategy=sft"),
        (Sft(), {"messages": TURNS[:3]}, "fits strategy=instruction"),
    ],
)
def test_a_row_of_another_kind_names_the_strategy_that_fits(
    strategy: Any, columns: dict[str, Any], fits: str, tokenizer: Any
) -> None:
    found = encoded(strategy, columns, tokenizer)
    assert isinstance(found, Rejected)
    assert fits in found.reason


class Fixed:
    """A step whose log-probabilities are given."""

    def log_probs(self, model: Any, batch: Any, part: str = "") -> Any:
        return batch[f"policy.{part}"], torch.ones(len(batch[f"policy.{part}"]))

    def reference_log_probs(self, batch: Any, part: str = "") -> Any:
        return batch[f"reference.{part}"]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_dpo_loss_equals_a_float64_reference(smoothing: float) -> None:
    policy = {"chosen": [-3.0, -9.0], "rejected": [-5.0, -2.0]}
    reference = {"chosen": [-4.0, -8.5], "rejected": [-4.5, -3.0]}
    batch = {f"policy.{k}": torch.tensor(v) for k, v in policy.items()}
    batch |= {f"reference.{k}": torch.tensor(v) for k, v in reference.items()}
    found = Dpo(beta=0.3, label_smoothing=smoothing).loss(None, batch, Fixed())  # type: ignore[arg-type]
    margins = [
        0.3 * ((policy["chosen"][i] - reference["chosen"][i]) - (policy["rejected"][i] - reference["rejected"][i]))
        for i in range(2)
    ]
    expected = sum((1 - smoothing) * math.log1p(math.exp(-m)) + smoothing * math.log1p(math.exp(m)) for m in margins)
    assert float(found.total) == pytest.approx(expected, abs=1e-6)
    assert found.items == 2
    assert float(found.logs["rewards/margins"]) == pytest.approx(sum(margins), abs=1e-6)
    assert float(found.logs["rewards/accuracies"]) == sum(m > 0 for m in margins)
    assert set(found.logs) == {f"rewards/{n}" for n in ("chosen", "rejected", "margins", "accuracies")}


def test_dpo_refuses_values_that_make_no_sense() -> None:
    assert list(Dpo(beta=0.0, label_smoothing=0.5).check(Run())) == [
        "strategy.beta=0.0 must be above 0",
        "strategy.label_smoothing=0.5 must be in [0, 0.5)",
    ]
