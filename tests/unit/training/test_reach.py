"""What trains must have a say in the output, on decoders and on encoders; else the run is refused before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training import bert, small
from tuneforge.adapter.bottleneck import Bottleneck
from tuneforge.adapter.freeze import Freeze
from tuneforge.adapter.full import Full
from tuneforge.adapter.ia3 import Ia3
from tuneforge.adapter.lora import Lora
from tuneforge.adapter.prefix import Prefix, PrefixInit
from tuneforge.adapter.prompt import Prompt
from tuneforge.adapter.ptuning import Ptuning
from tuneforge.errors import ConfigError
from tuneforge.rules import problems
from tuneforge.strategy.classification import Classification
from tuneforge.strategy.contrastive import Contrastive
from tuneforge.strategy.mlm import Mlm
from tuneforge.strategy.token_classification import TokenClassification
from tuneforge.training import reach
from tuneforge.training.memory.recompute import checkpointed
from tuneforge.training.memory.trial import trial

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of PEFT by itself
IDS = [3, 5, 8, 13, 21]
CLASSIFICATION, TAGS = Classification(), TokenClassification()


def encoder(kind: str) -> Any:
    import transformers as hf

    torch.manual_seed(0)
    if kind.startswith("DistilBert"):
        config: Any = hf.DistilBertConfig(vocab_size=100, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
    elif kind.startswith("Bert"):
        return bert.bert(kind)
    else:
        config = getattr(hf, f"{kind.partition('For')[0]}Config")(
            vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            pad_token_id=0, bos_token_id=1, eos_token_id=1, cls_token_id=1, sep_token_id=1, initializer_range=0.2,
        )  # fmt: skip
    return getattr(hf, kind)(config)


def applied(adapter: Any, strategy: Any, model: Any, folder: Path) -> Any:
    run = small.settings(strategy, adapter)
    assert [p for p in problems(run) if "adapter" in p] == []
    return adapter.apply(model, small.context(run, folder)).train()


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
@pytest.mark.parametrize("head", ["ForSequenceClassification", "ForTokenClassification"])
@pytest.mark.parametrize(
    "adapter", [Prefix(tokens=4), Prefix(tokens=4, init=PrefixInit.zero), Ia3()], ids=["prefix", "prefix-zero", "ia3"]
)
def test_prefixes_and_factors_change_what_encoders_say(adapter: Any, head: str, kind: str, tmp_path: Path) -> None:
    strategy = CLASSIFICATION if "Sequence" in head else TAGS
    model = applied(adapter, strategy, encoder(kind + head), tmp_path)
    reach.require(model, IDS, adapter.name)
    assert all(p.grad is None for p in model.parameters())
    ids = torch.tensor([IDS])
    with torch.no_grad():
        before = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and ".modules_to_save." not in name:
                parameter.add_(torch.randn_like(parameter))
        after = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    assert (after - before).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["DistilBert", "DebertaV2", "ModernBert"])
def test_models_without_room_for_a_prefix_refuse_it(kind: str, tmp_path: Path) -> None:
    model = encoder(f"{kind}ForSequenceClassification")
    with pytest.raises(ConfigError, match=f"the attention of {kind}ForSequenceClassification takes no keys"):
        applied(Prefix(tokens=4), CLASSIFICATION, model, tmp_path)


@pytest.mark.parametrize("strategy", [Mlm(), Contrastive()], ids=lambda s: s.name)
@pytest.mark.parametrize("adapter", [Prefix(), Prompt(), Ptuning()], ids=lambda a: a.name)
def test_virtual_tokens_are_refused_for_masked_and_embedding_models(adapter: Any, strategy: Any) -> None:
    said = [p for p in problems(small.settings(strategy, adapter)) if "cannot serve" in p]
    assert len(said) == 1


def test_a_prefix_is_refused_where_layers_are_computed_again(tmp_path: Path) -> None:
    adapter = Prefix(tokens=4)
    run = small.settings(adapter=adapter, batch__gradient_checkpointing=True)
    assert any("does not go with batch.gradient_checkpointing=true" in p for p in problems(run))
    model = applied(adapter, None, small.llama(), tmp_path)
    ids = torch.tensor([IDS])
    with checkpointed(model, True), pytest.raises(RuntimeError):  # the reason of the refusal
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)


@pytest.mark.parametrize(
    "adapter", [Full(), Freeze(train=["classifier"]), Freeze(last_layers=1), Lora(r=4), Bottleneck(size=4)],
    ids=lambda a: a.name,
)  # fmt: skip
def test_what_reaches_the_output_passes(adapter: Any, tmp_path: Path) -> None:
    model = applied(adapter, CLASSIFICATION, encoder("BertForSequenceClassification"), tmp_path)
    reach.require(model, IDS, adapter.name)


class Beside(Full):
    """Trains a parameter that nothing reads, and the head."""

    def apply(self, model: Any, context: Any) -> Any:
        model.requires_grad_(False)
        body = getattr(model, model.base_model_prefix)
        body.register_parameter("beside", torch.nn.Parameter(torch.ones(4)))
        for parameter in getattr(model, "classifier", torch.nn.Module()).parameters():
            parameter.requires_grad = True
        return model


def test_what_the_model_passes_over_is_refused_by_name_also_beside_a_head(tmp_path: Path) -> None:
    model = applied(Beside(), CLASSIFICATION, encoder("BertForSequenceClassification"), tmp_path)
    with pytest.raises(ConfigError, match=r"adapter=beside: .* passes over what would train \(bert\.beside\)"):
        reach.require(model, IDS, "beside")


def test_the_trial_before_the_first_step_refuses_it(tmp_path: Path) -> None:
    run = small.settings(adapter=Beside())
    loaded = small.loaded(small.llama())
    with (
        pytest.raises(ConfigError, match=r"passes over what would train \(model\.beside\)"),
        trial(run, loaded, small.encoded(small.rows(8)), small.context(run, tmp_path)),
    ):
        pass
