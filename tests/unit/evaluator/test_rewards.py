"""Evaluators that judge one answer: format, length, a reward model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.evaluator.answer_format import AnswerFormat
from tuneforge.evaluator.answer_length import AnswerLength, Unit
from tuneforge.evaluator.reward_model import RewardModel
from tuneforge.rows import Answer, Row

ROW = Row(columns={"prompt": "Reset my VPN, please."}, file="t.jsonl", line=7)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('{"queue": "network"}', 1), (' {"queue": 1}\n', 1), ('{"queue": 1, "more": 2}', 0), ("[1]", 0),
        ('{"queue": NaN}', 0), ("queue", 0), ("", 0), ('{"queue": 1} and more', 0), ("[" * 100_000, 0),
    ],
)  # fmt: skip
def test_json_with_the_keys_that_were_asked_for(text: str, right: int) -> None:
    assert AnswerFormat(keys=["queue"]).score(ROW, Answer(text)) == {"answer_format": float(right)}


def test_any_json_value_where_no_key_is_named() -> None:
    judge = AnswerFormat()
    assert [judge.score(ROW, Answer(t))["answer_format"] for t in ("3", '"x"', "[]", "x", "{'a': 1}")] == [
        1,
        1,
        1,
        0,
        0,
    ]
    assert judge.score(ROW, Answer("3", error="no room"))["answer_format"] == 0


def test_a_pattern_matches_from_end_to_end() -> None:
    judge = AnswerFormat(pattern=r"<think>.*</think>\s*\d+")
    found = [
        judge.score(ROW, Answer(t))["answer_format"] for t in ("<think>a\nb</think>\n42 ", "x <think></think>1", "42")
    ]
    assert found == [1, 0, 0]


def test_a_pattern_that_backtracks_without_end_is_cut_off_and_said(make_run: Any) -> None:
    _, context = make_run()
    judge, start = AnswerFormat(pattern=r"(a|aa)+b\1c"), time.perf_counter()
    answers = [Answer("a" * 5000), Answer("abac")]
    found = [s["answer_format"] for s in judge.judge([ROW, ROW], answers, context)]
    assert time.perf_counter() - start < 5
    assert found[0] == 0
    [said] = [note["text"] for note in context.notes]
    assert "the pattern searched 1 answers for 0.5 s in vain" in said


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        (AnswerFormat(pattern="(", keys=[]), "no regular expression"),
        (AnswerFormat(pattern="a", keys=["b"]), "exclude each other"),
        (AnswerLength(least=3, most=2), "needs 0 <= least <= most"),
        (RewardModel(), "path is empty"),
    ],
)
def test_settings_that_cannot_be(judge: Any, said: str, make_run: Any) -> None:
    assert any(said in reason for reason in judge.check(make_run()[0]))


def test_length_is_counted_in_what_is_asked() -> None:
    answer = Answer("two words", tokens=4)
    for unit, length in ((Unit.tokens, 4), (Unit.words, 2), (Unit.characters, 9)):
        assert AnswerLength(most=length, unit=unit).score(ROW, answer)["answer_length"] == 1
        assert AnswerLength(most=length - 1, unit=unit).score(ROW, answer)["answer_length"] == 0
        assert AnswerLength(least=length + 1, unit=unit).score(ROW, answer)["answer_length"] == 0


def test_overlong_answers_lose_as_in_dapo() -> None:
    rewards = pytest.importorskip("trl.rewards")
    theirs = rewards.get_soft_overlong_punishment(max_completion_len=100, soft_punish_cache=20)
    judge = AnswerLength(most=80, slack=20)
    for n in (1, 79, 80, 81, 90, 99, 100, 101, 300):
        [wanted] = theirs(completion_ids=[[5] * n])
        assert judge.score(ROW, Answer("x", tokens=n))["answer_length"] - 1 == pytest.approx(wanted)


@pytest.fixture
def judge_folder(tmp_path: Path, tokenizer: Any) -> Path:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, pad_token_id=0, num_labels=1,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "judge")
    tokenizer.save_pretrained(tmp_path / "judge")
    return tmp_path / "judge"


def test_a_reward_model_gives_what_transformers_gives_alone(make_run: Any, judge_folder: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    _, context = make_run()
    said = ["The answer is forty-two.", "no", "Hello there"]
    found = [
        s["reward"] for s in RewardModel(path=str(judge_folder)).judge([ROW] * 3, [Answer(t) for t in said], context)
    ]
    model = AutoModelForSequenceClassification.from_pretrained(judge_folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(judge_folder)
    for text, value in zip(said, found, strict=True):
        turns = [{"role": "user", "content": ROW.columns["prompt"]}, {"role": "assistant", "content": text}]
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
        with torch.no_grad():
            assert value == pytest.approx(float(model(input_ids=ids).logits[0, 0]), abs=1e-5)
    assert len(set(found)) == 3
    assert context.frozen(str(judge_folder), "reward") is context.frozen(str(judge_folder), "reward")


def test_a_model_that_was_never_trained_to_reward_is_no_judge(make_run: Any, model_folder: Path) -> None:
    _, context = make_run()
    with pytest.raises(ConfigError, match="it was not trained with a reward head"):
        RewardModel(path=str(model_folder)).judge([ROW], [Answer("x")], context)


def test_an_answer_longer_than_the_judge_reads_is_an_error_that_names_the_row(
    make_run: Any, judge_folder: Path
) -> None:
    _, context = make_run()
    with pytest.raises(
        TuneForgeError, match=r"t.jsonl:7: .* tokens of prompt and answer, and the reward model reads 64"
    ):
        RewardModel(path=str(judge_folder)).judge([ROW], [Answer("long " * 60)], context)


def test_they_measure_a_model_on_rows_that_only_ask(make_run: Any) -> None:
    from tuneforge.evaluation.lm import HFLM

    run, context = make_run()
    [found] = AnswerLength(most=1).measure(HFLM("base", *run.model.load("causal_lm", context)), [ROW], context)
    assert found["answer_length"] == 0, "a random model talks on"


def test_a_classifier_is_no_judge(make_run: Any, judge_folder: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(judge_folder, num_labels=3, ignore_mismatched_sizes=True)
    model.save_pretrained(judge_folder)
    _, context = make_run()
    with pytest.raises(ConfigError, match=r"other classes \(LABEL_0, LABEL_1, LABEL_2\)"):
        RewardModel(path=str(judge_folder)).judge([ROW], [Answer("x")], context)
