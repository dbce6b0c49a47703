"""Teachers without a server: a model in this process, and answers from a file."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tuneforge.errors import ConfigError
from tuneforge.rows import Request
from tuneforge.teacher.local import Local
from tuneforge.teacher.scripted import Scripted


def asked(*texts: str, **more: Any) -> list[Request]:
    return [Request([{"role": "user", "content": text}], **more) for text in texts]


def said(teacher: Any, requests: Any, context: Any) -> list[str]:
    by_id = {id(request): answer for request, answer in teacher.complete(requests, context)}
    return [by_id[id(request)].text for request in requests]


QUESTIONS = ("Reset my VPN, please.", "Hello there, how are you today?", "A ball.")


def test_a_local_model_says_what_transformers_says_alone(make_context: Any, model_folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    teacher = Local(path=str(model_folder))
    context = make_context(large=teacher)
    found = said(teacher, asked(*QUESTIONS, max_tokens=8), context)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_folder), AutoTokenizer.from_pretrained(model_folder)
    stop = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    for text, answer in zip(QUESTIONS, found, strict=True):
        turns = [{"role": "user", "content": text}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        out = model.generate(**ids, max_new_tokens=8, do_sample=False, eos_token_id=stop, pad_token_id=0)
        assert answer == tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)


def test_a_known_answer_needs_no_model(make_context: Any, model_folder: Path) -> None:
    teacher = Local(path=str(model_folder), batch=2)
    first = said(teacher, asked(*QUESTIONS, max_tokens=5), make_context(large=teacher))
    later = make_context(large=teacher)
    assert said(teacher, asked(*QUESTIONS, max_tokens=5), later) == first
    assert later.others == [], "not even loaded"
    assert later.spent["large"]["from_store"] == 3
    other = shutil.copytree(model_folder, model_folder.with_name("other"))
    os.utime(other / "model.safetensors", ns=(1, 1))
    changed = make_context(large=Local(path=str(other)))
    said(changed.teacher("large"), asked(*QUESTIONS, max_tokens=5), changed)
    assert changed.spent["large"]["from_store"] == 0, "other weights are another teacher"


def test_a_draw_depends_on_seed_and_question_alone(make_context: Any, model_folder: Path, tmp_path: Path) -> None:
    teacher = Local(path=str(model_folder))
    mixed = asked(*QUESTIONS, max_tokens=6, temperature=1.0, seed=3) + asked(*QUESTIONS, max_tokens=6)
    together = said(teacher, mixed, make_context(large=teacher))
    shutil.rmtree(tmp_path / "cache")
    alone = [said(teacher, [one], make_context(large=teacher))[0] for one in mixed[:3]]
    assert together[:3] == alone
    assert len(set(together[:3])) == 3
    assert together[:3] != together[3:]
    other = asked(*QUESTIONS, max_tokens=6, temperature=1.0, seed=4)
    assert said(teacher, other, make_context(large=teacher)) != alone


def test_a_model_without_a_template_reads_the_texts_of_all_messages(
    make_context: Any, model_folder: Path, tokenizer: Any
) -> None:
    (model_folder / "chat_template.jinja").unlink()
    teacher = Local(path=str(model_folder))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A ball."}]
    [(_, answer)] = teacher.complete([Request(turns, max_tokens=4)], make_context(large=teacher))
    assert not answer.error
    assert answer.prompt_tokens == len(tokenizer("Be brief.\n\nA ball.")["input_ids"])


def test_a_question_without_room_is_an_error(make_context: Any, model_folder: Path) -> None:
    teacher = Local(path=str(model_folder))
    for temperature in (0.0, 1.0):
        requests = asked("long " * 300, QUESTIONS[0], max_tokens=4, temperature=temperature)
        context = make_context(large=teacher)
        errors = {id(r): a.error for r, a in teacher.complete(requests, context)}
        assert errors[id(requests[0])]
        assert not errors[id(requests[1])]
        assert context.spent["large"]["errors"] == 1


def test_a_schema_is_said_in_words(make_context: Any, model_folder: Path) -> None:
    from tuneforge.teacher.schemas import in_words, strict

    [request] = asked("q", schema={"type": "object", "properties": {"a": {"type": "string"}}})
    assert in_words(request)[-1]["content"].endswith(json.dumps(request.schema))
    assert request.messages[-1]["content"] == "q"
    assert not strict(request.schema or {})


# ---------------------------------------------------------------- scripted


def written(tmp_path: Path, *rules: Any) -> str:
    path = tmp_path / "rules.jsonl"
    path.write_text("".join(json.dumps(rule) + "\n" for rule in rules))
    return str(path)


def test_the_first_rule_that_matches_answers(tmp_path: Path, make_context: Any) -> None:
    rules = [{"exact": "a b", "answer": "whole"}, {"match": "b+$", "answer": {"k": 1}}, {"answer": "else"}]
    teacher = Scripted(path=written(tmp_path, *rules))
    requests = asked("a b", "x\nabb", "a bc")
    assert said(teacher, requests, make_context(script=teacher)) == ["whole", '{"k": 1}', "else"]
    requests = [Request([{"role": "user", "content": "a b"}, {"role": "assistant", "content": "abb"}])]
    assert said(teacher, requests, make_context(script=teacher)) == ["whole"], "the last message of the user"


def test_a_question_that_no_rule_knows_is_an_error(tmp_path: Path, make_context: Any) -> None:
    teacher = Scripted(path=written(tmp_path, {"match": "x", "answer": "y"}))
    context = make_context(script=teacher)
    found = [answer.error for _, answer in teacher.complete(asked("x", "z"), context)]
    assert found == ["", f"no line of {teacher.path} matches"]
    assert context.spent["script"] | {"requests": 2, "errors": 1} == context.spent["script"]
    assert ["1 request got no answer" in note["text"] for note in context.notes] == [True]


def test_a_list_answers_in_turn(make_context: Any) -> None:
    teacher = Scripted(answers=["a", "b"])
    for _ in range(2):
        assert said(teacher, asked("1", "2", "3"), make_context(script=teacher)) == ["a", "b", "a"]


@pytest.mark.parametrize(
    "line",
    ["[]", "{", '{"match": "x"}', '{"match": "(", "answer": "y"}', '{"mach": "x", "answer": "y"}',
     '{"match": "x", "exact": "x", "answer": "y"}'],
)  # fmt: skip
def test_what_is_no_rule_is_named_by_its_line(line: str, tmp_path: Path, make_context: Any) -> None:
    path = tmp_path / "rules.jsonl"
    path.write_text(f'{{"answer": "y"}}\n\n{line}\n')
    teacher = Scripted(path=str(path))
    with pytest.raises(ConfigError, match=r"rules.jsonl:3: no rule"):
        list(teacher.complete(asked("q"), make_context(script=teacher)))


@pytest.mark.parametrize(
    ("teacher", "reason"),
    [
        (Scripted(), "needs either path=rules.jsonl or answers="),
        (Scripted(path="a", answers=["b"]), "needs either"),
        (Scripted(path="/no/such/file"), "there is no such file"),
        (Local(), "path is empty"),
        (Local(path="x", batch=0), "batch=0"),
    ],
)
def test_settings_that_cannot_be(teacher: Any, reason: str, make_context: Any) -> None:
    assert any(reason in found for found in teacher.check(make_context().run))
