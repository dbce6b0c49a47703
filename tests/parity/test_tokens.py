"""Token ids and masks equal TRL's own, on real rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuneforge.rows import Encoded, Row
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.instruction import Instruction
from tuneforge.strategy.sft import LossOn, Sft
from tuneforge.training.text.chat import training_template

pytestmark = [
    pytest.mark.shared,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
trl = pytest.importorskip("trl")

TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' }}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ m['content'] + eos_token }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
TOKENIZERS = ["tokenizers/gpt2", "stories260K"]
LENGTH = 100_000
ROLES = {"human": "user", "gpt": "assistant", "system": "system"}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: Any, shared: Path) -> Any:
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(shared / "models" / request.param)
    found.pad_token = found.pad_token or found.eos_token
    found.chat_template = TEMPLATE
    return found


@pytest.fixture
def alpaca(shared: Path) -> list[dict[str, Any]]:
    raw = json.loads((shared / "data" / "alpaca_demo" / "alpaca_en_demo.json").read_text(encoding="utf-8"))[:150]
    return [
        {"prompt": "\n\n".join(t for t in (r["instruction"], r["input"]) if t), "completion": r["output"]} for r in raw
    ]


@pytest.fixture
def conversations(shared: Path) -> list[dict[str, Any]]:
    raw = json.loads((shared / "data" / "sharegpt_identity" / "dummy_conversation.json").read_text(encoding="utf-8"))
    return [
        {"messages": [{"role": ROLES[t["from"]], "content": t["value"]} for t in r["conversations"]]} for r in raw[:150]
    ]


@pytest.fixture
def preferences(shared: Path) -> list[dict[str, Any]]:
    with gzip.open(shared / "data" / "dpo_demo" / "dpo_en_demo.json.gz", "rt", encoding="utf-8") as file:
        raw = json.load(file)
    return [
        {
            "prompt": [{"role": ROLES[t["from"]], "content": t["value"]} for t in r["conversations"]],
            "chosen": [{"role": "assistant", "content": r["chosen"]["value"]}],
            "rejected": [{"role": "assistant", "content": r["rejected"]["value"]}],
        }
        for r in raw[:150]
    ]


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Any]:
    """TRL's tokenised training rows."""

    def make(trainer: Any, config: Any, rows: list[dict[str, Any]], tokenizer: Any, **options: Any) -> Any:
        from datasets import Dataset, disable_progress_bar
        from transformers import LlamaConfig, LlamaForCausalLM

        disable_progress_bar()
        shape = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
        )
        reference = {"ref_model": LlamaForCausalLM(shape)} if trainer is trl.DPOTrainer else {}
        args = config(
            output_dir=str(tmp_path), report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False,
            max_length=LENGTH, **options,
        )  # fmt: skip
        data = Dataset.from_list(rows)
        made = trainer(LlamaForCausalLM(shape), args=args, train_dataset=data, processing_class=tokenizer, **reference)
        return made.train_dataset

    return make


def ours(strategy: Any, rows: list[dict[str, Any]], tokenizer: Any) -> list[Encoded]:
    found = list(strategy.encode([Row(columns=columns) for columns in rows], tokenizer, None))
    assert all(isinstance(row, Encoded) for row in found), [r for r in found if not isinstance(r, Encoded)][:1]
    return found


def turns(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "completion": [{"role": "assistant", "content": row["completion"]}],
    }


def assert_same(mine: list[Encoded], theirs: Any) -> None:
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert list(a.parts["input_ids"]) == b["input_ids"]
        # TRL labels the first token too; the shift by one never uses it.
        assert list(a.parts["labels"]) == b["labels"]


def test_instruction_is_assistant_only_loss(tokenizer: Any, conversations: Any, trained: Any) -> None:
    theirs = trained(trl.SFTTrainer, trl.SFTConfig, conversations, tokenizer, assistant_only_loss=True)
    assert_same(ours(Instruction(), conversations, tokenizer), theirs)


def test_instruction_without_marks_has_the_same_mask(tokenizer: Any, conversations: Any) -> None:
    marked = ours(Instruction(), conversations, tokenizer)
    tokenizer.chat_template = TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    assert ours(Instruction(), conversations, tokenizer) == marked


@pytest.mark.parametrize("chat", [True, False])
def test_sft_is_completion_only_loss(tokenizer: Any, alpaca: Any, trained: Any, chat: bool) -> None:
    rows = [turns(row) for row in alpaca] if chat else alpaca
    tokenizer.chat_template = TEMPLATE if chat else None
    theirs = trained(trl.SFTTrainer, trl.SFTConfig, rows, tokenizer, completion_only_loss=True)
    assert_same(ours(Sft(), rows, tokenizer), theirs)


def test_sft_of_texts_in_a_chat_model_is_that_of_turns(tokenizer: Any, alpaca: Any) -> None:
    assert ours(Sft(), alpaca, tokenizer) == ours(Sft(), [turns(row) for row in alpaca], tokenizer)


def test_sft_on_all_tokens(tokenizer: Any, alpaca: Any, trained: Any) -> None:
    rows = [turns(row) for row in alpaca]
    theirs = trained(trl.SFTTrainer, trl.SFTConfig, rows, tokenizer, completion_only_loss=False)
    assert_same(ours(Sft(loss_on=LossOn.all), rows, tokenizer), theirs)


@pytest.mark.parametrize("chat", [True, False])
def test_dpo(tokenizer: Any, preferences: Any, trained: Any, chat: bool) -> None:
    rows = preferences
    if not chat:
        tokenizer.chat_template = None
        rows = [{k: v[-1]["content"] for k, v in row.items()} for row in preferences]
    theirs = trained(trl.DPOTrainer, trl.DPOConfig, rows, tokenizer)
    for mine, row in zip(ours(Dpo(), rows, tokenizer), theirs, strict=True):
        for side in ("chosen", "rejected"):
            assert list(mine.parts[f"{side}.input_ids"]) == row["prompt_ids"] + row[f"{side}_ids"]
            assert list(mine.parts[f"{side}.labels"]) == [-100] * len(row["prompt_ids"]) + row[f"{side}_ids"]


def test_training_templates_are_those_that_trl_chooses(tokenizer: Any) -> None:
    from trl.chat_template_utils import get_training_chat_template

    folder = Path(trl.__file__).parent / "chat_templates"
    seen = 0
    for path in sorted(folder.glob("*.jinja")):
        text = path.read_text(encoding="utf-8")
        mine = training_template(text)
        tokenizer.chat_template = text
        try:
            theirs = get_training_chat_template(tokenizer)
        except Exception:
            continue
        if theirs is not None:
            seen += 1
            assert mine == theirs, path.name
    assert seen > 15
