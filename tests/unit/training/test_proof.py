"""The proof: what it counts, what it refuses, and that it changes nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from tuneforge.adapter.lora import Lora
from tuneforge.errors import ConfigError, DataRefused
from tuneforge.rows import Encoded, Loaded, Rejected, Row
from tuneforge.sections import Batch, Packing, TrainerSettings
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.instruction import Instruction
from tuneforge.strategy.sft import LossOn, Sft
from tuneforge.training.proof import prove, write
from tuneforge.training.text.encode import encode
from tuneforge.training.text.view import bracketed, check_mask, stretches

WORDS = ["Reset", "VPN", "please", "queue", "network", "urgency", "the dog", "42", "héllo 😀", "a [[b]]"]


def rows(n: int = 40) -> list[Row]:
    draw = random.Random(0)

    def words() -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 6)))

    def row(i: int) -> Row:
        prompt, chosen, rejected = words() + "?", f"Done {i}: {words()}", f"No {i}: {words()}"
        turns = [("user", prompt), ("assistant", chosen), ("user", "And now?"), ("assistant", rejected)]
        return Row(
            columns={
                "prompt": prompt, "completion": chosen, "chosen": chosen, "rejected": rejected, "text": prompt,
                "messages": [{"role": r, "content": c} for r, c in turns],
            }, file="train.jsonl", line=i + 1,
        )  # fmt: skip

    return [row(i) for i in range(n)]


def proved(make_run: Callable[..., Any], loaded: Loaded, given: list[Row] | None = None, **fields: Any) -> Any:
    run, context = make_run(trainer=TrainerSettings(accelerator="cpu"), **fields)
    encoded = encode(run, rows() if given is None else given, loaded.tokenizer, context)
    return prove(run, loaded, encoded, context), encoded, context


@pytest.fixture
def loaded(llama: Any, tokenizer: Any) -> Loaded:
    return Loaded(llama, tokenizer)


@pytest.mark.parametrize(
    "strategy", [Sft(), Sft(loss_on=LossOn.all), Instruction(), Dpo(), Clm()], ids=lambda s: f"{s.name}"
)
@pytest.mark.parametrize("template", [True, False])
def test_every_strategy_is_proved(make_run: Callable[..., Any], loaded: Loaded, strategy: Any, template: bool) -> None:
    if not template:
        loaded.tokenizer.chat_template = None
        if isinstance(strategy, Instruction):
            with pytest.raises(DataRefused, match=r"40 were rejected .40 x no chat template; set model.chat_template"):
                proved(make_run, loaded, strategy=strategy)
            return
    packing = Packing.on if strategy.packable else Packing.auto
    proof, encoded, _ = proved(make_run, loaded, strategy=strategy, batch=Batch(packing=packing))
    assert proof.rows == proof.texts == proof.stop_trained == 40
    assert proof.loss_share == (encoded.loss_tokens / encoded.tokens if strategy.unit == "tokens" else 0)
    assert proof.mask_checked == (0 if isinstance(strategy, Clm) or proof.loss_share > 0.95 else 40)
    assert proof.stop_token == ("</s>" if isinstance(strategy, Clm) or not template else "<|im_end|>")
    assert proof.packed is strategy.packable
    assert proof.seconds_per_step > 0
    assert proof.planned_seconds == proof.steps * proof.seconds_per_step


def test_the_preview_shows_the_loss(make_run: Callable[..., Any], loaded: Loaded, tmp_path: Path) -> None:
    given = [Row(columns={"prompt": "Reset [[my]] VPN", "completion": "Done."}, file="train.jsonl", line=7)]
    proof, encoded, _ = proved(make_run, loaded, given, strategy=Instruction())
    (entry,) = proof.preview
    assert entry["place"] == "train.jsonl:7"
    assert entry["text"] == "<|im_start|>user\nReset [[my]] VPN<|im_end|>\n<|im_start|>assistant\n[[Done.<|im_end|>]]\n"
    assert [s for s, loss in entry["stretches"] if loss] == ["Done.<|im_end|>"]
    write(proof, encoded, tmp_path)
    assert json.loads((tmp_path / "data" / "preview.jsonl").read_text()) == entry
    assert json.loads((tmp_path / "data" / "audit.json").read_text())["proof"]["stop_trained"] == 1


def test_the_audit_of_the_data_is_kept(make_run: Callable[..., Any], loaded: Loaded, tmp_path: Path) -> None:
    proof, encoded, _ = proved(make_run, loaded)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "audit.json").write_text('{"sources": []}')
    write(replace(proof, isolation=float("inf")), encoded, tmp_path)
    audit = json.loads((tmp_path / "data" / "audit.json").read_text(), parse_constant=pytest.fail)
    assert (audit["sources"], audit["proof"]["isolation"]) == ([], "infinite")


# ------------------------------------------------------------ planted faults


@dataclass(kw_only=True)
class Planted(Instruction):
    """Puts labels where a fault would."""

    name: ClassVar[str] = "planted"
    fault: str = ""

    def encode(self, rows: Sequence[Row], tokenizer: Any, context: Any) -> Iterator[Encoded | Rejected]:
        for encoded in super().encode(rows, tokenizer, context):
            assert isinstance(encoded, Encoded)
            ids, labels = list(encoded.parts["input_ids"]), list(encoded.parts["labels"])
            trained = [i for i, label in enumerate(labels) if label != -100]
            if self.fault == "all":
                labels = list(ids)
            elif self.fault == "user":
                labels = [t if label == -100 else -100 for t, label in zip(ids, labels, strict=True)]
            elif self.fault == "shifted":
                labels = [-100, *labels[:-1]]
                labels = [t if label != -100 else -100 for t, label in zip(ids, labels, strict=True)]
            elif self.fault == "header":
                labels[trained[0] - 2] = ids[trained[0] - 2]
            elif self.fault == "first turn only":
                labels = [-100 if i > len(ids) // 2 else label for i, label in enumerate(labels)]
            elif self.fault == "no stop":
                labels = [
                    -100 if tokenizer.decode([t]).startswith("<|") else label
                    for t, label in zip(ids, labels, strict=True)
                ]
            elif self.fault == "none":
                labels = [-100] * len(labels)
            yield Encoded({"input_ids": ids, "labels": labels})


@pytest.mark.parametrize("fault", ["all", "user", "shifted", "header", "first turn only"])
@pytest.mark.parametrize("marks", [True, False])
def test_a_planted_wrong_mask_is_refused(make_run: Callable[..., Any], loaded: Loaded, fault: str, marks: bool) -> None:
    template = loaded.tokenizer.chat_template
    if not marks:
        loaded.tokenizer.chat_template = template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    with pytest.raises(DataRefused, match=r"wrong mask: train.jsonl:1: .*carries.*\d+ of 40 rows that were checked"):
        proved(make_run, loaded, strategy=Planted(fault=fault))


def test_an_untrained_stop_token_is_said_aloud(make_run: Callable[..., Any], loaded: Loaded) -> None:
    proof, _, context = proved(make_run, loaded, strategy=Planted(fault="no stop"))
    assert proof.stop_trained == 0
    assert "is trained in no row" in proof.warnings[0]
    assert any("is trained in no row" in note["text"] for note in context.notes)


def test_nothing_that_carries_loss_is_refused(make_run: Callable[..., Any], loaded: Loaded) -> None:
    with pytest.raises(DataRefused, match="nothing carries loss: of 40 rows 0 were rejected"):
        proved(make_run, loaded, strategy=Planted(fault="none"))
    with pytest.raises(
        DataRefused, match=r"2 x needs prompt, chosen and rejected, the row has text .fits strategy=clm"
    ):
        proved(make_run, loaded, [Row(columns={"text": "x"})] * 2, strategy=Dpo())


def test_a_template_that_rewrites_answers_is_not_called_wrong(make_run: Callable[..., Any], loaded: Loaded) -> None:
    loaded.tokenizer.chat_template = loaded.tokenizer.chat_template.replace(
        "generation %}{{ m['content']", "generation %}{{ m['content'] | upper"
    )
    proof, _, _ = proved(make_run, loaded, strategy=Instruction())
    assert proof.mask_checked == 0


def test_a_merged_token_at_the_boundary_is_not_called_wrong(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    row = Row(columns={"prompt": "Hello the", "completion": "re, how"})
    (encoded,) = Sft().encode([row], tokenizer, None)  # type: ignore[arg-type]
    assert bracketed(stretches(encoded, tokenizer)).startswith("Hello[[ the")
    assert check_mask(Sft(), [encoded], [row], tokenizer) == ([], 0)


# ------------------------------------------------------------ packing and plan


def test_packing_that_was_asked_for_and_cannot_be_is_refused(make_run: Callable[..., Any], loaded: Loaded) -> None:
    with pytest.raises(ConfigError, match=r"batch.packing=on: strategy=dpo cannot be packed"):
        proved(make_run, loaded, strategy=Dpo(), batch=Batch(packing=Packing.on))


def test_packing_turns_off_aloud_where_documents_see_each_other(make_run: Callable[..., Any], loaded: Loaded) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    size = len(loaded.tokenizer)
    mamba = MambaForCausalLM(MambaConfig(vocab_size=size, hidden_size=32, num_hidden_layers=1, state_size=4))
    proof, _, context = proved(make_run, Loaded(mamba, loaded.tokenizer))
    assert not proof.packed
    assert proof.units == 40
    assert any(note["text"].startswith("packing is off: two documents") for note in context.notes)


def test_few_steps_are_said_aloud(make_run: Callable[..., Any], loaded: Loaded) -> None:
    short = [Row(columns={"prompt": "Hello", "completion": "Done."})] * 100
    proof, _, _ = proved(make_run, loaded, short, strategy=Sft(), batch=Batch(packing=Packing.on))
    assert proof.steps < 50
    assert "optimizer steps: packing puts" in proof.warnings[0]


def test_packing_is_not_chosen_where_it_leaves_few_steps(make_run: Callable[..., Any], loaded: Loaded) -> None:
    short = [Row(columns={"prompt": "Hello", "completion": "Done."})] * 100
    proof, _, context = proved(make_run, loaded, short, strategy=Sft())
    assert (proof.packed, proof.units, proof.steps) == (False, 100, 39)
    assert any("instead of 39; batch.packing=on" in note["text"] for note in context.notes)
    proof, _, _ = proved(make_run, loaded, short * 200, strategy=Sft())
    assert proof.packed
    assert proof.steps >= 100


@pytest.mark.parametrize("adapter", [None, Lora(dropout=0.1)])
def test_the_timed_step_changes_nothing(make_run: Callable[..., Any], loaded: Loaded, adapter: Any) -> None:
    before = {n: p.clone() for n, p in loaded.model.state_dict().items()}
    torch.manual_seed(3)
    states = (torch.get_rng_state(), random.getstate())
    proved(make_run, loaded, **({"adapter": adapter} if adapter else {}))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    after = loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)
    assert all(p.grad is None and p.requires_grad for p in loaded.model.parameters())
    assert not loaded.model.training


@pytest.mark.shared
def test_characters_that_the_tokenizer_does_not_know_are_no_wrong_mask(shared: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "babyllama-char105")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% if m['role'] == 'assistant' %}{{ eos_token }}"
        "{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    row = Row(columns={"prompt": "Hello", "completion": "Done."})
    (encoded,) = Sft().encode([row], tokenizer, None)  # type: ignore[arg-type]
    assert bracketed(stretches(encoded, tokenizer)).endswith("Done.</s> <unk>]]")
    assert check_mask(Sft(), [encoded], [row], tokenizer) == ([], 0)
