"""All rows as tokens: counted, never truncated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from tuneforge.errors import ConfigError
from tuneforge.rows import Encoded, Rejected, Row
from tuneforge.sections import Batch
from tuneforge.strategy.clm import Clm
from tuneforge.strategy.instruction import Instruction
from tuneforge.strategy.sft import Sft
from tuneforge.training.text.encode import encode, max_length, model_context


def rows(n: int, **columns: Any) -> list[Row]:
    return [Row(columns=columns or {"prompt": f"Hello {i}", "completion": "Done."}, file="a", line=i) for i in range(n)]


def test_every_row_is_encoded_or_rejected_in_order(tokenizer: Any, make_run: Callable[..., Any]) -> None:
    run, context = make_run(strategy=Sft())
    given = rows(1500)
    given[3] = Row(columns={"text": "alone"}, file="a", line=3)
    given[1200] = Row(columns={"prompt": "x " * 300, "completion": "y"}, file="a", line=1200)
    found = encode(run, given, tokenizer, context)
    assert (len(found.rows), found.texts, len(found.rejected)) == (1498, 1498, 2)
    assert [s.line for s in found.sources] == [i for i in range(1500) if i not in (3, 1200)]
    assert found.rejected[0].reason == (
        "needs prompt and completion, or messages that end with the assistant, the row has text (fits strategy=clm)"
    )
    assert "tokens, and batch.max_length is 256" in found.rejected[1].reason
    assert found.tokens == sum(len(r.parts["input_ids"]) for r in found.rows)
    assert found.loss_tokens == sum(t != -100 for r in found.rows for t in r.parts["labels"][1:])
    assert found.stop_trained == 1498
    assert found.stops == {tokenizer.convert_tokens_to_ids("<|im_end|>"): 1498}


def test_long_texts_are_cut_into_chunks_and_every_token_is_predicted_once(
    tokenizer: Any, make_run: Callable[..., Any]
) -> None:
    run, context = make_run(strategy=Clm(), batch=Batch(max_length=10))
    text = "Once upon a time there was a little dog who liked to play in the park with a ball. Reset my VPN."
    found = encode(run, rows(1, text=text), tokenizer, context)
    whole = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    trained = [t for r in found.rows for t in r.parts["labels"][1:] if t != -100]
    assert trained == whole[1:]
    assert all(2 <= len(r.parts["input_ids"]) <= 10 for r in found.rows)
    assert (found.chunked, found.texts, found.loss_tokens) == (1, 1, len(whole) - 1)
    assert "1 texts longer than 10 tokens were cut into chunks; nothing is lost" in context.notes[0]["text"]


@pytest.mark.parametrize("length", [9, 10, 11, 18, 19, 20])
def test_no_chunk_is_left_with_a_single_token(tokenizer: Any, make_run: Callable[..., Any], length: int) -> None:
    run, context = make_run(strategy=Clm(), batch=Batch(max_length=10))
    found = encode(run, rows(1, text="x" * (length - 1)), tokenizer, context)
    assert found.loss_tokens == length - 1
    assert min(len(r.parts["input_ids"]) for r in found.rows) >= 2


def test_rows_that_spell_control_tokens_are_counted(tokenizer: Any, make_run: Callable[..., Any]) -> None:
    run, context = make_run(strategy=Instruction())
    given = [*rows(2), Row(columns={"prompt": "a </s>", "completion": "b"})]
    assert encode(run, given, tokenizer, context).literal == 1
    assert context.notes[0]["literal"] == 1


def test_max_length() -> None:
    assert model_context({"n_positions": 7}) == 7
    assert model_context({"text_config": {"max_position_embeddings": 9}}) == 9
    assert model_context({}) is None


@pytest.mark.parametrize(
    ("asked", "config", "expected"),
    [(None, {"n_positions": 512}, 512), (None, {"n_positions": 4096}, 1024), (None, {}, 1024), (7, {}, 7)],
)
def test_max_length_is_the_context_or_1024(
    make_run: Callable[..., Any], asked: int | None, config: dict[str, int], expected: int
) -> None:
    run, _ = make_run(batch=Batch(max_length=asked))
    assert max_length(run, config) == expected


def test_max_length_beyond_the_model_is_refused(make_run: Callable[..., Any]) -> None:
    run, _ = make_run(batch=Batch(max_length=600))
    with pytest.raises(ConfigError, match=r"batch.max_length=600 is longer than the model's context of 512"):
        max_length(run, {"n_positions": 512})


@dataclass(kw_only=True)
class Forgetful(Sft):
    """Loses a row."""

    name: ClassVar[str] = "forgetful"

    def encode(self, rows: Sequence[Row], tokenizer: Any, context: Any) -> Iterator[Encoded | Rejected]:
        yield from list(super().encode(rows, tokenizer, context))[1:]


def test_a_strategy_that_loses_a_row_is_an_error(tokenizer: Any, make_run: Callable[..., Any]) -> None:
    run, context = make_run(strategy=Forgetful())
    with pytest.raises(RuntimeError, match="strategy=forgetful: encode gave 1 results for 2 rows"):
        encode(run, rows(2), tokenizer, context)


def test_models_whose_positions_begin_after_the_padding_take_fewer_tokens() -> None:
    import torch
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=34,
    )  # fmt: skip
    longest = model_context(config.to_dict())
    assert longest == 32
    model = RobertaModel(config)
    model(torch.full((1, longest), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, longest + 1), 5))
    assert model_context({"max_position_embeddings": 512, "model_type": "bert", "pad_token_id": 0}) == 512
