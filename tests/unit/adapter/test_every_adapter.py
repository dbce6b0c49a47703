"""What every adapter promises: what trains, step 0, the base when it is off, what is saved, what is merged."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from tests.unit.adapter.fitting import IDS, applied, fitted, logits, moved, trainable
from tests.unit.training import small
from tuneforge.adapter.bottleneck import Activation, Bottleneck
from tuneforge.adapter.freeze import Freeze
from tuneforge.adapter.full import Full
from tuneforge.adapter.gradual_unfreezing import GradualUnfreezing
from tuneforge.adapter.ia3 import Ia3
from tuneforge.adapter.lora import Init, Lora
from tuneforge.adapter.prefix import Prefix, PrefixInit
from tuneforge.adapter.prompt import Prompt, PromptInit
from tuneforge.adapter.ptuning import Encoder, Ptuning
from tuneforge.errors import ConfigError

SAME = [
    Lora(r=4), Lora(r=4, rslora=True), Lora(r=4, dora=True), Lora(r=4, init=Init.gaussian),
    Lora(r=4, init=Init.orthogonal), Lora(r=4, init=Init.mica), Lora(r=4, layers=[-1]),
    Lora(r=4, rank_pattern={"down_proj": 2}, alpha_pattern={"down_proj": 1}), Ia3(),
    Ia3(targets=["q_proj", "down_proj"], feedforward=["down_proj"]), Bottleneck(size=8),
    Bottleneck(size=8, activation=Activation.relu, targets=["o_proj"]),
]  # fmt: skip
"""Step 0 equals the base, and so does the model when the adapter is off."""
MOVING = [Lora(r=4, init=Init.pissa), Lora(r=4, init=Init.olora)]
PROMPTS = [
    Prefix(tokens=4), Prefix(tokens=4, init=PrefixInit.zero), Prefix(tokens=4, projection=True, hidden=16),
    Prompt(tokens=4),
    Prompt(tokens=4, init=PromptInit.random), Ptuning(tokens=4, hidden=16),
    Ptuning(tokens=4, hidden=16, encoder=Encoder.lstm),
]  # fmt: skip
WHOLE = [Full(), Freeze(last_layers=1), Freeze(train=["*.mlp"]), GradualUnfreezing()]
PEFTS = [a for a in [*SAME, *MOVING, *PROMPTS] if not isinstance(a, Bottleneck)]


pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of PEFT by itself


def named(adapter: Any) -> str:
    """The adapter with the fields that are not as they come."""
    if isinstance(adapter, str):
        return "reason"
    plain = type(adapter)()
    return ",".join([adapter.name, *(f"{k}={v}" for k, v in vars(adapter).items() if v != vars(plain)[k])])


TUNED: dict[str, Any] = {}


@pytest.fixture
def tune(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model after eight steps, trained once per adapter."""

    def make(adapter: Any) -> Any:
        if named(adapter) not in TUNED:
            TUNED[named(adapter)] = fitted(adapter, tmp_path_factory.mktemp("run"), steps=8).model
        return copy.deepcopy(TUNED[named(adapter)])

    return make


@pytest.mark.parametrize("adapter", [*SAME, *MOVING, *PROMPTS, *WHOLE], ids=named)
def test_exactly_what_requires_gradients_is_moved_by_training(adapter: Any, tmp_path: Path, tune: Any) -> None:
    before = applied(adapter, tmp_path)
    after = tune(adapter)
    names = trainable(before)
    assert names
    assert moved(before, after) == names


@pytest.mark.parametrize("adapter", [*SAME, *MOVING], ids=named)
def test_step_0_is_the_base(adapter: Any, tmp_path: Path) -> None:
    gap = (logits(applied(adapter, tmp_path)) - logits(small.llama())).abs().max()
    assert gap <= (2e-6 if adapter in MOVING or getattr(adapter, "init", "") is Init.orthogonal else 0)


@pytest.mark.parametrize("adapter", [*SAME, *PROMPTS], ids=named)
def test_off_is_the_base(adapter: Any, tune: Any) -> None:
    model = tune(adapter)
    tuned, base = logits(model), logits(small.llama())
    assert (tuned - base).abs().max() > 1e-4
    with adapter.off(model):
        assert (logits(model) - base).abs().max() < 1e-6
    assert torch.equal(logits(model), tuned)


@pytest.mark.parametrize("adapter", [*MOVING, *WHOLE], ids=named)
def test_what_changes_the_base_cannot_be_switched_off(adapter: Any, tmp_path: Path) -> None:
    assert adapter.off(applied(adapter, tmp_path)) is None


@pytest.mark.parametrize("adapter", PEFTS, ids=named)
def test_peft_alone_loads_what_was_saved(adapter: Any, tmp_path: Path, tune: Any) -> None:
    model = tune(adapter)
    adapter.save(model, tmp_path / "model")
    stock = PeftModel.from_pretrained(small.llama(), tmp_path / "model")
    assert type(stock).__name__ == "PeftModelForCausalLM"
    # PEFT's own forward also returns the logits of virtual tokens, which come first.
    assert (logits(stock)[:, -IDS.shape[1] :] - logits(model)).abs().max() < 1e-6
    assert not list((tmp_path / "model").glob("*.bin"))


@pytest.mark.parametrize("adapter", [*SAME, *MOVING, *PROMPTS, *WHOLE], ids=named)
def test_load_gives_the_tuned_model(adapter: Any, tmp_path: Path, tune: Any) -> None:
    model = tune(adapter)
    adapter.save(model, tmp_path / "model")
    again = adapter.load(small.llama(seed=7) if adapter in WHOLE else small.llama(), tmp_path / "model", False)
    assert (logits(again) - logits(model)).abs().max() < 1e-6
    assert trainable(again) == set()


@pytest.mark.parametrize("adapter", [*SAME, *MOVING], ids=named)
def test_what_was_loaded_to_train_on_trains_the_same(adapter: Any, tmp_path: Path) -> None:
    before = applied(adapter, tmp_path)
    adapter.save(before, tmp_path / "model")
    assert trainable(adapter.load(small.llama(), tmp_path / "model", True)) == trainable(before)


@pytest.mark.parametrize("adapter", [a for a in [*SAME, *MOVING, *WHOLE] if not isinstance(a, Bottleneck)], ids=named)
def test_merging_keeps_the_logits(adapter: Any, tune: Any) -> None:
    model = tune(adapter)
    tuned = logits(model)
    merged = adapter.merge(model)
    assert type(merged).__name__ == "LlamaForCausalLM"
    assert (logits(merged) - tuned).abs().max() < 1e-5
    assert {n for n, _ in merged.named_parameters()} == {n for n, _ in small.llama().named_parameters()}


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [(Bottleneck(size=8), "no linear function"), *((a, "virtual tokens") for a in PROMPTS[::2])],
    ids=named,
)
def test_what_cannot_be_merged_says_why(adapter: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"adapter={adapter.name} cannot be merged: .*{reason}"):
        adapter.merge(applied(adapter, tmp_path))


@pytest.mark.parametrize("adapter", [Lora(r=4), Ia3(), Bottleneck(size=8), Prompt(tokens=4)], ids=named)
def test_equal_seeds_start_equal(adapter: Any, tmp_path: Path) -> None:
    one, two = applied(adapter, tmp_path / "a"), applied(adapter, tmp_path / "b")
    assert moved(one, two) == set()


def test_lora_is_pefts_own_over_ten_steps(tmp_path: Path) -> None:
    """Against PEFT in a bare loop: same rows, order, optimizer and schedule."""
    from peft import LoraConfig, get_peft_model

    from tuneforge.training.batches.collate import collate

    adapter = Lora(r=4, alpha=8)
    run = small.settings(adapter=adapter, trainer__max_steps=10, batch__size=4, trainer__gradient_clip_val=None)
    run.optimizer.weight_decay = 0.0
    rows = small.rows(40)
    from tuneforge.training.fit import fit

    ours = fit(
        run, small.loaded(small.llama()), small.encoded(rows), None, False, small.context(run, tmp_path),
        order=lambda epoch: list(range(40)),
    )  # fmt: skip
    model = small.llama()
    torch.manual_seed(0)
    theirs = get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear")
    ).train()
    optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
    losses = []
    for step in range(10):
        batch = collate(rows[4 * step : 4 * step + 4], 0)
        for group in optimizer.param_groups:
            group["lr"] = ours.history[step]["learning_rate"]
        loss = theirs(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses == pytest.approx([line["loss"] for line in ours.history], abs=1e-5)
    assert losses[-1] < losses[0] - 0.01
    pairs = zip(theirs.named_parameters(), ours.model.named_parameters(), strict=True)
    assert max(float((a - b).detach().abs().max()) for (_, a), (_, b) in pairs) < 1e-5
