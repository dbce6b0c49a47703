"""Every objective with every adapter: it trains, what it saves a stock library loads, and the rest is refused aloud.

And every objective by itself: however a step is cut the gradients are the same, and a resumed run is the run.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.unit.conftest import MARKED, make_llama
from tests.unit.training import small
from tuneforge import plugins
from tuneforge.adapter.freeze import Freeze
from tuneforge.adapter.full import Full
from tuneforge.adapter.lora import Lora
from tuneforge.components import Adapter, Strategy
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError
from tuneforge.evaluator.answer_length import AnswerLength, Unit
from tuneforge.model.heads import auto_class
from tuneforge.model.hf import DType, Hf
from tuneforge.optimizer.adamw import AdamW
from tuneforge.rows import Row
from tuneforge.scheduler.constant import Constant
from tuneforge.sections import Packing
from tuneforge.settings import Run
from tuneforge.strategy.dpo import Dpo
from tuneforge.strategy.sft import Sft

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # PEFT's own, as we load
CATALOGUE = plugins.load()


def registered(group: str) -> dict[str, type]:
    """Components alone: presets bear names of the group too."""
    return {ref.split("/")[1]: cls for ref, cls in CATALOGUE.components.items() if ref.startswith(f"{group}/")}


STRATEGY, ADAPTER = registered("strategy"), registered("adapter")
OBJECTIVES = sorted(STRATEGY)
WORDS = ["reset", "the", "queue", "network", "please", "answer", "dog", "park", "ball", "forty", "two", "hello"]


def words(n: int, seed: int) -> str:
    return " ".join(WORDS[(seed * 7 + i * 5 + i * i) % len(WORDS)] for i in range(n))


COLUMNS: dict[str, Any] = {
    "text": lambda i: {"text": words(8 + i % 5, i)},
    "messages": lambda i: {
        "messages": [
            {"role": "user", "content": words(4, i)}, {"role": "assistant", "content": words(3 + i % 4, i + 1)}
        ]
    },
    "completion": lambda i: {"prompt": words(4 + i % 3, i), "completion": words(3 + i % 4, i + 1)},
    "preference": lambda i: {
        "prompt": words(4 + i % 3, i), "chosen": words(3 + i % 4, i + 1), "rejected": words(2 + i % 3, i + 5)
    },
    "prompt": lambda i: {"prompt": words(4 + i % 3, i), "completion": words(3, i + 1)},
    "unpaired": lambda i: {"prompt": words(4, i), "completion": words(3 + i % 4, i + 1), "label": i % 2 == 0},
    "label": lambda i: {"text": words(5 + i % 4, i), "label": ("network", "dog", "park")[i % 3]},
    "tags": lambda i: {
        "tokens": words(5 + i % 3, i).split(), "tags": ["B-x" if (i + k) % 4 == 0 else "O" for k in range(5 + i % 3)]
    },
    "pair": lambda i: {"anchor": f"{words(3, i)} {i}", "positive": f"{words(5, i + 1)} {i}"},
}  # fmt: skip
"""Record → columns of row i."""


def rows(strategy: Strategy) -> list[Row]:
    make = COLUMNS[strategy.record]
    return [Row(columns=make(i), source="data.made", file="made.jsonl", line=i + 1, id=f"{i:016x}") for i in range(16)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small Llama and a small BERT, with dropout and still, as folders; a tokenizer with control and mask tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    specials = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<mask>"]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(["user assistant system\n", " ".join(WORDS)] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", mask_token="<mask>"
    )
    tokenizer.chat_template = MARKED
    home = tmp_path_factory.mktemp("models")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    for suffix, dropout in (("", 0.1), ("-still", 0.0)):
        make_llama(len(tokenizer), attention_dropout=dropout, classifier_dropout=dropout).save_pretrained(
            home / f"llama{suffix}"
        )
        torch.manual_seed(0)
        more = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=256, pad_token_id=0, **sizes, **more)
        BertForMaskedLM(config).save_pretrained(home / f"bert{suffix}")
    found = {folder.name: folder for folder in home.iterdir()}
    for folder in found.values():
        tokenizer.save_pretrained(folder)
    return found


def objective(name: str, folders: dict[str, Path]) -> Strategy:
    """The strategy with what it cannot do without."""
    if name == "multitask":
        return STRATEGY[name](tasks={"answers": Sft(), "preferences": Dpo()})  # type: ignore[no-any-return]
    needs: dict[str, dict[str, Any]] = {
        "distill": {"teacher": str(folders["llama"])},
        "grpo": {"rewards": ["length"], "generations": 4, "max_tokens": 6, "temperature": 1.0},
    }
    return STRATEGY[name](**needs.get(name, {}))  # type: ignore[no-any-return]


def run_of(strategy: Strategy, adapter: Adapter, folders: dict[str, Path], **more: Any) -> Run:
    path = folders[("bert" if strategy.head == "masked_lm" else "llama") + more.pop("suffix", "")]
    run = Run(
        model=Hf(path=str(path), dtype=DType.float32), strategy=strategy, adapter=adapter,
        optimizer=AdamW(learning_rate=more.pop("rate", 1e-3)), scheduler=Constant(warmup=0),
        evaluator={"length": AnswerLength(most=1, slack=25, unit=Unit.characters)} if strategy.name == "grpo" else {},
    )  # fmt: skip
    run.trainer.accelerator, run.trainer.devices = "cpu", "1"
    run.batch.packing, run.batch.size = Packing.off, 4
    for name, value in {"trainer__max_steps": 2, **more}.items():
        *path_, last = name.split("__")
        target: Any = run
        for part in path_:
            target = getattr(target, part)
        assert hasattr(target, last), name
        setattr(target, last, value)
    return run


def made_rows(strategy: Strategy) -> list[Row]:
    tasks = getattr(strategy, "tasks", None)
    if not tasks:
        return rows(strategy)
    return [row for task in tasks.values() for row in rows(task)[:8]]


def trained(run: Run, folder: Path) -> Any:
    """The run's rows encoded and trained, as the core does it. ConfigError where it is refused."""
    from tuneforge.process import quiet_libraries
    from tuneforge.training.fit import fit
    from tuneforge.training.text.encode import encode

    quiet_libraries()
    reasons = [r for _, part in run.components() for r in part.check(run)]
    if reasons:
        raise ConfigError("; ".join(reasons))
    context = RunContext(run, folder)
    data = made_rows(run.strategy)
    context.labels = run.strategy.labels(data)
    loaded = run.model.load(run.strategy.head, context)
    reasons = list(run.strategy.fits(loaded, context))
    if reasons:
        raise ConfigError("; ".join(reasons))
    encoded = encode(run, data, loaded.tokenizer, context)
    assert not encoded.rejected, encoded.rejected[0].reason
    return fit(run, loaded, encoded, None, False, context)


def outputs(model: Any) -> Any:
    import torch

    ids = torch.arange(6, 30).unsqueeze(0)
    with torch.no_grad():
        found = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
    states = found.logits if hasattr(found, "logits") else found.last_hidden_state
    return states[:, -24:] if states.dim() == 3 else states  # stock PEFT gives logits at virtual tokens too


ADAPTER_NEEDS: dict[str, dict[str, Any]] = {"freeze": {"last_layers": 1}}
VIRTUAL = ("prefix", "prompt", "ptuning")
REFUSED: set[tuple[str, str]] = {(name, adapter) for name in ("contrastive", "mlm") for adapter in VIRTUAL}
REFUSED |= set(itertools.product(("reward", "classification", "token_classification"), ("prompt", "ptuning")))
"""Pairs that are impossible; every other pair trains."""


@pytest.mark.parametrize(("name", "adapter"), list(itertools.product(OBJECTIVES, sorted(ADAPTER))))
def test_objective_with_adapter(name: str, adapter: str, folders: dict[str, Path], tmp_path: Path) -> None:
    import torch

    run = run_of(objective(name, folders), ADAPTER[adapter](**ADAPTER_NEEDS.get(adapter, {})), folders)
    if (name, adapter) in REFUSED:
        with pytest.raises(ConfigError) as refused:
            trained(run, tmp_path)
        assert len(str(refused.value)) > 20
        return
    fitted = trained(run, tmp_path)
    assert fitted.steps == 2
    assert all(torch.isfinite(torch.tensor(line["loss"])) for line in fitted.history)
    saved = tmp_path / "model"
    run.adapter.save(fitted.model, saved)
    assert not [p for p in saved.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".ckpt")]
    again = reloaded(run, saved, tmp_path)
    torch.testing.assert_close(outputs(again), outputs(fitted.model), atol=1e-5, rtol=1e-5)


def reloaded(run: Run, saved: Path, folder: Path) -> Any:
    """What was saved, on the base as the run found it: by transformers, by PEFT, else by the adapter itself."""
    import transformers
    from peft import PeftModel

    auto = getattr(transformers, auto_class("hf", run.strategy.head))
    if (saved / "config.json").exists():
        return auto.from_pretrained(saved, dtype="float32")
    context = RunContext(run, folder)
    context.labels = run.strategy.labels(made_rows(run.strategy))
    base: Any = run.model.load(run.strategy.head, context).model
    if (saved / "adapter_config.json").exists():
        return PeftModel.from_pretrained(base, str(saved))
    return run.adapter.load(base, saved, trainable=False)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_does_not_depend_on_how_it_is_cut(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    import torch

    whole = run_of(objective(name, folders), Full(), folders, batch__size=8, suffix="-still")
    if not whole.strategy.divisible:
        pytest.skip(f"{name} couples the rows of a forward pass, and refuses to be cut")
    calm(whole)
    cut = run_of(objective(name, folders), Full(), folders, batch__size=8, batch__micro=1, suffix="-still")
    calm(cut)
    models = [trained(run, tmp_path / str(i)).model for i, run in enumerate((whole, cut))]
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-6
    assert torch.isfinite(next(models[0].parameters())).all()


def calm(run: Run) -> None:
    """An optimizer in which a rounding of the gradient stays one: Adam's first steps are all sign."""
    run.optimizer = dataclasses.replace(run.optimizer, eps=1.0, learning_rate=0.1)  # type: ignore[call-arg]


@pytest.mark.parametrize("adapter", ["full", "lora"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_resumed_run_is_the_run(name: str, adapter: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """Bit for bit, with dropout, over the end of an epoch."""

    def at(steps: int, folder: Path, resume: bool = False) -> Any:
        chosen = Full() if adapter == "full" else Lora(dropout=0.1, r=4)
        run = run_of(objective(name, folders), chosen, folders, trainer__max_steps=steps)
        run.trainer.max_epochs = None
        run.resume = str(folder) if resume else None
        return trained(run, folder)

    straight = at(6, tmp_path / "straight")
    at(3, tmp_path / "broken")
    resumed = at(6, tmp_path / "broken", resume=True)
    assert resumed.resumed_from == 3
    assert small.digest(resumed.model) == small.digest(straight.model)


# ---------------------------------------------------------------- objectives that make up for rare classes

BALANCING: dict[str, dict[str, Any]] = {
    "balanced": {"class_weights": "balanced"},
    "effective_number": {"class_weights": "effective_number", "beta": 0.9},
    "focal": {"class_weights": "balanced", "focal_gamma": 2.0},
    "smote": {"smote": "smote"},
    "adasyn": {"smote": "adasyn"},
}


def balancing(name: str, method: str, folders: dict[str, Path], **more: Any) -> Run:
    """A run on rows of uneven classes; for synthetic vectors the head alone trains."""
    adapter = Freeze(train=["score"]) if "smote" in BALANCING[method] else Full()
    run = run_of(STRATEGY[name](**BALANCING[method]), adapter, folders, batch__size=8, **more)
    run.trainer.max_steps = more.get("trainer__max_steps", 3)
    return run


METHODS = [("classification", m) for m in BALANCING] + [("token_classification", "focal")]


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_balancing_does_not_depend_on_the_cut(
    name: str, method: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setitem(COLUMNS, "label", uneven)
    found = []
    for micro in (8, 3, 1):
        run = balancing(name, method, folders, batch__micro=micro, suffix="-still")
        calm(run)
        found.append(trained(run, tmp_path / str(micro)))
    for other in found[1:]:
        pairs = zip(found[0].model.parameters(), other.model.parameters(), strict=True)
        assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-6
        assert [line["loss"] for line in other.history] == pytest.approx([x["loss"] for x in found[0].history])
        assert other.loss_tokens == found[0].loss_tokens
    assert torch.isfinite(next(found[0].model.parameters())).all()


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_balancing_resumes_exactly(
    name: str, method: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COLUMNS, "label", uneven)

    def at(steps: int, folder: Path, resume: bool = False) -> Any:
        run = balancing(name, method, folders, trainer__max_steps=steps)
        run.trainer.max_epochs = None
        run.resume = str(folder) if resume else None
        return trained(run, folder)

    straight = at(5, tmp_path / "straight")
    at(2, tmp_path / "broken")
    resumed = at(5, tmp_path / "broken", resume=True)
    assert resumed.resumed_from == 2
    assert small.digest(resumed.model) == small.digest(straight.model)


def uneven(i: int) -> dict[str, Any]:
    """Ten rows of one class, four of another, two of a third."""
    return {"text": words(5 + i % 4, i), "label": "network" if i < 10 else "dog" if i < 14 else "park"}
