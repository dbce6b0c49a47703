"""HFLM against transformers' own generation and loss, one row at a time."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.evaluation import subjects
from tuneforge.errors import ConfigError
from tuneforge.evaluation.decoding import greedy
from tuneforge.evaluation.lm import HFLM
from tuneforge.evaluation.prompt import Prompt
from tuneforge.evaluation.windows import windows
from tuneforge.training.text.render import prompt_ids


def generated(lm: HFLM, row: subjects.Row, tokens: int) -> tuple[str, str]:
    """Text and finish of transformers' own greedy generation for one row."""
    ids = torch.tensor([prompt_ids(row.columns, lm.tokenizer, lm.asking.examples)])
    options = {"do_sample": False, "max_new_tokens": tokens, "eos_token_id": sorted(lm.stop), "pad_token_id": 0}
    found = lm.model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, ids.shape[1] :].tolist()
    end = next((i for i, t in enumerate(found) if t in lm.stop), None)
    return lm.tokenizer.decode(found[:end], skip_special_tokens=True), "stop" if end is not None else "length"


def log_prob(model: object, ids: list[int], start: int) -> float:
    logits = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)  # type: ignore[operator]
    return sum(float(logits[i - 1, ids[i]]) for i in range(start, len(ids)))


@pytest.mark.parametrize("make", [subjects.llama, subjects.gpt2])
def test_greedy_answers_equal_transformers_row_by_row(make: object) -> None:
    lm = HFLM("base", make(), subjects.tokenizer())  # type: ignore[operator]
    rows = subjects.questions(70)
    # Some rows end early, so that the batch shrinks while others go on.
    subjects.taught(lm.model, lm.tokenizer, rows, steps=4)
    with torch.no_grad():
        expected = [generated(lm, row, 12) for row in rows]
    assert [(a.text, a.finish) for a in lm.generate(rows, 12)] == expected
    assert {finish for _, finish in expected} == {"stop", "length"}


def test_rows_that_end_among_longer_ones_take_no_position_beyond_the_context() -> None:
    model = subjects.gpt2()  # its positions are a table of 256
    prompts = [[7] * 250, *([[3, n] for n in range(20)])]
    limits = [3, *([30] * 20)]
    with torch.no_grad():
        together = greedy(model, prompts, limits, set(), 0)
        alone = [greedy(model, [p], [n], set(), 0)[0] for p, n in zip(prompts, limits, strict=True)]
    assert [one.ids for one in together] == [one.ids for one in alone]


def test_answers_carry_the_log_probability_of_what_was_generated() -> None:
    lm = HFLM("base", subjects.llama(), subjects.tokenizer())
    rows = subjects.questions(40)
    subjects.taught(lm.model, lm.tokenizer, rows, steps=4)
    answers = lm.generate(rows, 8)
    assert {a.finish for a in answers} == {"stop", "length"}
    exact = copy.deepcopy(lm.model).double()
    for row, answer in zip(rows, answers, strict=True):
        ids = lm.prompt(row, 8)
        nats = 0.0
        for _ in range(answer.tokens + (answer.finish == "stop")):
            with torch.no_grad():
                likely = exact(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            nats += float(likely.max())
            ids = [*ids, int(likely.argmax())]
        assert answer.log_prob == pytest.approx(nats, abs=1e-4)


def test_answers_that_never_end_are_counted_once() -> None:
    lm = HFLM("base", subjects.llama(context=64), subjects.tokenizer())
    rows = [*subjects.questions(9), subjects.row(prompt="a" * 40, completion="b")]
    answers = lm.generate(rows, 12)
    lm.generate(rows, 12)
    reached = sum(a.finish == "length" and a.tokens == 12 for a in answers)
    assert reached > 0
    assert f"base: {reached} of 10 answers reached max_tokens=12 without an end" in list(lm.trouble.notes("base"))
    assert all(a.tokens <= 12 for a in answers)


def test_log_probs_are_of_the_answer_without_its_stop_token() -> None:
    lm = HFLM("base", subjects.llama(), subjects.tokenizer())
    rows = [subjects.row(prompt="Grüße", completion="日本 ok"), subjects.row(prompt="b", completion="x")]
    found = lm.log_probs(rows, "completion")
    with torch.no_grad():
        for row, (nats, tokens, size) in zip(rows, found, strict=True):
            prompt = prompt_ids(row.columns, lm.tokenizer)
            answer = lm.tokenizer(row.columns["completion"], add_special_tokens=False)["input_ids"]
            assert nats == pytest.approx(log_prob(lm.model, prompt + answer, len(prompt)), rel=1e-5)
            assert tokens == len(answer)
            assert size == len(row.columns["completion"].encode())


@pytest.mark.parametrize(("begin", "end"), [(True, True), (False, True), (False, False)])
def test_a_text_is_scored_from_its_first_token(begin: bool, end: bool) -> None:
    tokens = subjects.tokenizer(template=None, begin=begin, end=end)
    lm = HFLM("base", subjects.llama(), tokens)
    nats, count, size = lm.log_probs([subjects.row(text="Hé llo")], "text")[0]
    ids = tokens("Hé llo", add_special_tokens=False)["input_ids"]
    first = [tokens.bos_token_id] if begin else [tokens.eos_token_id] if end else []
    with torch.no_grad():
        expected = log_prob(lm.model, first + ids, 1) - (0 if first else math.log(264))
    assert (nats, count, size) == (pytest.approx(expected, rel=1e-5), 7, 7)


@pytest.mark.parametrize(("length", "start"), [(40, 1), (41, 1), (100, 1), (1000, 1), (100, 70), (90, 89), (41, 40)])
def test_windows_score_every_token_once_with_half_a_context_before_it(length: int, start: int) -> None:
    ids = list(range(length))
    found = list(windows(0, ids, start, 40))
    scored = [i for w in found for i in w.ids[w.score :]]
    assert scored == ids[start:]
    assert all(len(w.ids) <= 40 and (w.score >= 20 or w.ids[0] == 0) for w in found)


def test_long_rows_are_scored_in_windows_and_said() -> None:
    lm = HFLM("base", subjects.llama(context=32), subjects.tokenizer(template=None))
    text = "the quick brown fox jumps over the lazy dog " * 3
    found = lm.log_probs([subjects.row(text=text)], "text")
    assert found[0, 1] == len(text)
    assert "overlapping windows" in next(lm.trouble.notes("base"))


def test_a_prompt_beyond_the_context_is_an_empty_answer_and_said() -> None:
    lm = HFLM("base", subjects.llama(context=32), subjects.tokenizer())
    short, long = subjects.row(prompt="a", completion="b"), subjects.row(prompt="a" * 50, completion="b")
    answers = lm.generate([short, long], 8)
    assert answers[0].error == ""
    assert (answers[1].text, answers[1].finish) == ("", "length")
    assert "context of 32" in answers[1].error
    assert next(lm.trouble.notes("base")).startswith("base: 1 prompts do not fit")


def test_shots_that_do_not_fit_are_left_out_and_said() -> None:
    shots = subjects.questions(8, seed=1)
    lm = HFLM("prompted", subjects.llama(context=256), subjects.tokenizer(), Prompt(examples=tuple(shots)))
    long = subjects.row(prompt="a" * 120, completion="b")
    assert len(lm.prompt(long, 16)) <= 256 - 16
    assert "1 rows were asked with fewer shots" in next(lm.trouble.notes("prompted"))


def test_a_plain_prompt_with_shots_ends_at_its_blank_line() -> None:
    tokens = subjects.tokenizer(template=None)
    shots = subjects.questions(2, seed=1)
    lm = HFLM("prompted", subjects.llama(), tokens, Prompt(examples=tuple(shots)))
    assert lm.stop_text == "\n\n"
    letters = torch.tensor(tokens("yes\n\n\n\n", add_special_tokens=False)["input_ids"])

    def scripted(_: object, inputs: object, out: object) -> object:
        """The model says `yes` and then line breaks without end."""
        length = out.past_key_values.get_seq_length() - base_length  # type: ignore[attr-defined]
        out.logits[:, -1] = torch.nn.functional.one_hot(letters[length], 264).float()  # type: ignore[attr-defined]
        return out

    row = subjects.row(prompt="q", completion="yes")
    base_length = len(lm.prompt(row, 6))
    with_hook = lm.model.register_forward_hook(scripted)
    answer = lm.generate([row], 6)[0]
    with_hook.remove()
    assert (answer.text, answer.finish) == ("yes", "stop")
    several = HFLM("prompted", lm.model, tokens, Prompt(examples=(subjects.row(prompt="a", completion="b\n\nc"),)))
    assert several.stop_text == ""


def test_modes_are_restored() -> None:
    lm = HFLM("base", subjects.llama(), subjects.tokenizer())
    lm.model.train()
    lm.model.model.layers[0].eval()
    lm.generate(subjects.questions(2), 2)
    assert lm.model.training
    assert not lm.model.model.layers[0].training
    assert all(p.grad is None for p in lm.model.parameters())


def test_other_heads_are_refused() -> None:
    lm = HFLM("base", subjects.llama(), subjects.tokenizer())
    for call in (lambda: lm.predict([]), lambda: lm.embed([]), lambda: lm.reward([], "chosen")):
        with pytest.raises(ConfigError, match=r"needs an? \w+ head"):
            call()


def test_a_row_that_cannot_be_rendered_is_counted() -> None:
    lm = HFLM("base", subjects.llama(), subjects.tokenizer(template=None))
    row = subjects.row(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    assert lm.generate([row], 4)[0].error
    assert lm.log_probs([row], "completion").tolist() == [[0, 0, 0]]
    assert any("could not be rendered" in note for note in lm.trouble.notes("base"))


@pytest.mark.shared
def test_stories260k_on_tinystories(shared: Path) -> None:
    import gzip
    import json

    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = shared / "models" / "stories260K"
    model, tokens = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with gzip.open(shared / "data/tinystories/tinystories_train800.json.gz") as file:
        texts = json.loads(file.read())
    texts = [t for t in texts if len(tokens(t, verbose=False)["input_ids"]) < 400][:40]
    found = HFLM("base", model, tokens).log_probs([subjects.row(text=t) for t in texts], "text")
    with torch.no_grad():
        for text, (nats, count, size) in zip(texts, found, strict=True):
            ids = tokens(text, return_tensors="pt")["input_ids"]
            assert ids[0, 0] == tokens.bos_token_id
            assert nats == pytest.approx(-model(ids, labels=ids).loss.item() * count, rel=1e-4)
            assert (count, size) == (ids.shape[1] - 1, len(text.encode()))
    assert -found[:, 0].sum() / found[:, 1].sum() == pytest.approx(1.4, abs=0.2)


def test_numbers_are_plain(tmp_path: Path) -> None:
    lm = HFLM("base", subjects.llama(), subjects.tokenizer())
    found = lm.log_probs(subjects.questions(3), "completion")
    assert (found.dtype, found.shape) == (np.float64, (3, 3))
