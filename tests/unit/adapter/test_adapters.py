"""Names, layers and values that adapters refuse; the heads that they serve."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from tests.unit.adapter.fitting import applied, logits, trainable
from tests.unit.training import small
from tuneforge.adapter.bottleneck import Bottleneck
from tuneforge.adapter.freeze import Freeze
from tuneforge.adapter.full import Full
from tuneforge.adapter.gradual_unfreezing import GradualUnfreezing
from tuneforge.adapter.ia3 import Ia3
from tuneforge.adapter.lora import Init, Lora
from tuneforge.adapter.prefix import Prefix, PrefixInit
from tuneforge.adapter.prompt import Prompt, PromptInit
from tuneforge.adapter.ptuning import Ptuning
from tuneforge.components import Strategy
from tuneforge.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of PEFT by itself


def test_lora_of_everything_leaves_the_head_out(tmp_path: Path) -> None:
    names = trainable(applied(Lora(r=4), tmp_path, lambda: small.llama(tie=False)))
    kinds = {n.split(".lora_")[0].rsplit(".", 1)[-1] for n in names}
    assert kinds == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_lora_of_chosen_layers_and_ranks(tmp_path: Path) -> None:
    model = applied(Lora(r=4, layers=[-1], rank_pattern={"down_proj": 2}), tmp_path)
    assert all(".layers.1." in n for n in trainable(model))
    ranks = {n.split(".lora_A")[0].rsplit(".", 1)[-1]: p.shape[0] for n, p in model.named_parameters() if "lora_A" in n}
    assert ranks.pop("down_proj") == 2
    assert set(ranks.values()) == {4}


LLAMA = "down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj"


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (Lora(targets=["q_porj"]), f"adapter.targets: the model has no linear layer 'q_porj'; it has {LLAMA}. Did you"),
        (Lora(modules_to_save=["lm_haed"]), "adapter.modules_to_save: the model has no module 'lm_haed'"),
        (Lora(targets=["input_layernorm"]), "the model has no linear layer 'input_layernorm'"),
        (Lora(layers=[2]), "adapter.layers: the model has no layer 2; it has 0 to 1"),
        (Lora(rank_pattern={"dwon_proj": 2}), "adapter.rank_pattern: the model has no linear layer 'dwon_proj'"),
        (Ia3(targets=["w_proj"]), "adapter.targets: the model has no linear layer 'w_proj'"),
        (Bottleneck(targets=["o_prj"]), "Did you mean 'o_proj'?"),
        (Freeze(train=["*.atn.*"]), "adapter.train: '*.atn.*' fits no parameter"),
        (Freeze(train=["self_atn"]), "Did you mean 'self_attn'?"),
        (Freeze(train=["re:layers[.]7"]), "fits no parameter"),
        (Freeze(last_layers=3), "adapter.last_layers=3: the model has 2 layers"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_a_name_that_fits_nothing_is_refused(adapter: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        applied(adapter, tmp_path, lambda: small.llama(tie=False))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("adapter", "reasons"),
    [
        (
            Lora(r=0, alpha=0, dropout=1.0, rank_pattern={"a": 0}),
            [
                "adapter.r=0 must be at least 1",
                "adapter.alpha=0 must be above 0",
                "adapter.dropout=1.0 must be in [0, 1)",
                "adapter.rank_pattern.a=0 must be at least 1",
            ],
        ),
        (Lora(r=3, init=Init.orthogonal), ["adapter.r=3 must be even with adapter.init=orthogonal"]),
        (Lora(dora=True, init=Init.mica), ["dora=true and adapter.init=mica"]),
        (Ia3(feedforward=["down_proj"]), ["adapter.feedforward: down_proj must stand in adapter.targets too"]),
        (Prefix(tokens=0), ["adapter.tokens=0 must be at least 1"]),
        (Prefix(projection=True, init=PrefixInit.zero), ["adapter.projection=true needs adapter.init=random"]),
        (Prompt(text="Sort:"), ["adapter.text and adapter.init=text go together"]),
        (Prompt(init=PromptInit.text), ["adapter.text and adapter.init=text go together"]),
        (Ptuning(hidden=0), ["adapter.hidden=0 must be at least 1"]),
        (Bottleneck(size=0), ["adapter.size=0 must be at least 1"]),
        (Freeze(last_layers=0), ["nothing would train"]),
        (Freeze(train=["re:["]), ["re:[ is no regular expression"]),
        (GradualUnfreezing(layers=0, until=0.0), ["adapter.layers=0", "adapter.until=0.0"]),
    ],
    ids=lambda x: str(x)[:30],
)
def test_values_out_of_range(adapter: Any, reasons: list[str]) -> None:
    found = list(adapter.check(small.settings()))
    assert len(found) == len(reasons)
    assert all(part in whole for part, whole in zip(reasons, found, strict=True))


def test_gradual_unfreezing_wants_one_device() -> None:
    found = list(GradualUnfreezing().check(small.settings(trainer__devices="2")))
    assert found == [
        "adapter=gradual_unfreezing with trainer.devices=2: what trains changes on the way, which several devices do"
        " not follow; use trainer.devices=1"
    ]


# ---------------------------------------------------------------- heads

HEADS = {
    "sequence_classification": "LlamaForSequenceClassification",
    "reward": "LlamaForSequenceClassification",
    "token_classification": "LlamaForTokenClassification",
    "embedding": "LlamaModel",
    "causal_lm": "LlamaForCausalLM",
}
PEFT_CLASS = {
    "sequence_classification": "PeftModelForSequenceClassification",
    "reward": "PeftModelForSequenceClassification",
    "token_classification": "PeftModelForTokenClassification",
    "embedding": "PeftModelForFeatureExtraction",
    "causal_lm": "PeftModelForCausalLM",
}


def with_head(head: str) -> Any:
    import transformers

    config = small.llama().config
    config.num_labels = 1 if head == "reward" else 3
    torch.manual_seed(1)
    return getattr(transformers, HEADS[head])(config)


def bert(head: str) -> Any:
    import transformers

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.BertConfig(vocab_size=97, max_position_embeddings=64, num_labels=3, **sizes)
    torch.manual_seed(1)
    names = {"masked_lm": "BertForMaskedLM", "sequence_classification": "BertForSequenceClassification"}
    return getattr(transformers, names[head])(config)


def output(model: Any) -> Any:
    """Logits, or the states of a model without a head, of two rows of which one is padded."""
    ids = torch.tensor([[3, 5, 8, 13, 21], [2, 4, 6, 0, 0]])
    with torch.no_grad():
        out = model.eval()(input_ids=ids, attention_mask=(ids > 0).long())
    return out.logits if "logits" in out else out.last_hidden_state


def shaken(model: Any) -> Any:
    """All that trains moved at random, as training would."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def applied_to(adapter: Any, model: Any, head: str, folder: Path) -> Any:
    run = small.settings(adapter=adapter)
    run.strategy = type("Asks", (Strategy,), {"head": head, "name": "asks"})()
    assert list(adapter.check(run)) == []
    return adapter.apply(model, small.context(run, folder))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "adapter", [Lora(r=4), Ia3(), Bottleneck(size=8), Full(), Freeze(last_layers=1)], ids=lambda a: a.name
)
def test_every_head_trains_is_saved_and_loaded(adapter: Any, head: str, tmp_path: Path) -> None:
    model = shaken(applied_to(adapter, with_head(head), head, tmp_path))
    new = [n for n in trainable(model) if "score" in n]
    assert bool(new) == (head in ("sequence_classification", "reward", "token_classification"))
    adapter.save(model, tmp_path / "model")
    base = with_head(head)
    with torch.no_grad():
        for name, parameter in base.named_parameters():
            if "score" in name:  # a freshly loaded base has another random head
                parameter.zero_()
    again = adapter.load(base, tmp_path / "model", trainable=False)
    assert (output(again) - output(model)).abs().max() < 1e-6
    if adapter.name in ("lora", "ia3"):
        stock = PeftModel.from_pretrained(with_head(head), tmp_path / "model")
        assert type(stock).__name__ == PEFT_CLASS[head]
        assert (output(stock) - output(model)).abs().max() < 1e-6
        tuned = output(model)
        assert (output(adapter.merge(model)) - tuned).abs().max() < 1e-5


@pytest.mark.parametrize("head", ["masked_lm", "sequence_classification"])
@pytest.mark.parametrize("adapter", [Lora(r=4), Ia3(), Bottleneck(size=8)], ids=lambda a: a.name)
def test_encoders_too(adapter: Any, head: str, tmp_path: Path) -> None:
    model = shaken(applied_to(adapter, bert(head), head, tmp_path))
    assert any("classifier" in n for n in trainable(model)) == (head == "sequence_classification")
    adapter.save(model, tmp_path / "model")
    assert (output(adapter.load(bert(head), tmp_path / "model", False)) - output(model)).abs().max() < 1e-6


def test_layers_of_a_head_are_left_alone_though_they_bear_the_same_name(tmp_path: Path) -> None:
    model = applied_to(Lora(r=4), bert("masked_lm"), "masked_lm", tmp_path)
    assert not [n for n in trainable(model) if "cls." in n]
    assert [n for n in trainable(model) if "attention.output.dense" in n]


@pytest.mark.parametrize("head", ["sequence_classification", "reward", "token_classification"])
def test_a_prefix_serves_classifiers(head: str, tmp_path: Path) -> None:
    adapter = Prefix(tokens=4, init=PrefixInit.random)
    model = shaken(applied_to(adapter, with_head(head), head, tmp_path))
    assert any("score" in n for n in trainable(model))
    adapter.save(model, tmp_path / "model")
    assert output(model).shape[:2] == output(with_head(head)).shape[:2]
    assert (output(PeftModel.from_pretrained(with_head(head), tmp_path / "model")) - output(model)).abs().max() < 1e-6


@pytest.mark.parametrize("head", ["masked_lm", *[head for head in HEADS if head != "causal_lm"]])
@pytest.mark.parametrize("adapter", [Prompt(), Ptuning(), Prefix()], ids=lambda a: a.name)
def test_heads_that_virtual_tokens_cannot_serve_are_refused_with_the_reason(adapter: Any, head: str) -> None:
    run = small.settings(adapter=adapter)
    run.strategy = type("Asks", (Strategy,), {"head": head, "name": "asks"})()
    found = list(adapter.check(run))
    served = adapter.name == "prefix" and head not in ("masked_lm", "embedding")
    assert len(found) == (0 if served else 1)
    assert served or found[0].startswith(f"adapter={adapter.name} cannot serve strategy=asks: ")


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    Full().save(small.gpt2(), tmp_path / "gpt2")
    with pytest.raises(ConfigError, match="not weights of this LlamaForCausalLM"):
        Full().load(small.llama(), tmp_path / "gpt2", trainable=False)
    model = applied(Bottleneck(size=8), tmp_path)
    Bottleneck(size=8).save(model, tmp_path / "model")
    with pytest.raises(ConfigError, match="belong to another base model"):
        Bottleneck(size=8).load(small.gpt2(), tmp_path / "model", trainable=False)


def test_a_tied_head_stays_with_the_embeddings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = applied(Freeze(last_layers=1), tmp_path)
    assert "the head is tied to the embeddings and stays frozen" in capsys.readouterr().out
    assert all(".layers.1." in n or n == "model.norm.weight" for n in trainable(model))
    untied = applied(Freeze(last_layers=1), tmp_path, lambda: small.llama(tie=False))
    assert trainable(untied) == trainable(model) | {"lm_head.weight"}


@pytest.mark.parametrize("make", [small.llama, small.gpt2], ids=["llama", "gpt2"])
def test_depth_names_every_parameter_once(make: Callable[[], Any]) -> None:
    from tuneforge.training.depth import by_depth

    model = make()
    groups = by_depth(model)
    assert sorted(chain(*groups)) == sorted(n for n, _ in model.named_parameters())
    assert len(groups) == 4
    assert all(len(group) > 5 for group in groups[1:3])
    assert logits(model).shape[-1] == 97
