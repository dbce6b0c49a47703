"""The tuned model in other forms: merged, cast, quantised, compared, with a card."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.unit.conftest import make_llama
from tuneforge import record, saved
from tuneforge.cli import main
from tuneforge.composition import compose_config
from tuneforge.context import RunContext
from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.exporter.merged import Merged, Precision
from tuneforge.exporting import adapted_model, export_all

PREVIEW = [[["<|im_start|>user\nReset my <b>VPN</b>|please<|im_end|>\n", False], ["The answer is 42.<|im_end|>", True]]]


@pytest.fixture
def tuned(tmp_path: Path, tokenizer: Any) -> Any:
    """A run directory whose adapter says something; options choose adapter and tying."""

    def make(*overrides: str, tie: bool = False, head: str = "causal_lm") -> Path:
        base, folder = tmp_path / "base", tmp_path / "run"
        make_llama(len(tokenizer), tie_word_embeddings=tie).save_pretrained(base)
        tokenizer.save_pretrained(base)
        (folder / "data").mkdir(parents=True)
        line = {"stretches": PREVIEW[0]}
        (folder / "data" / "preview.jsonl").write_text(json.dumps(line) + "\n")
        composed = compose_config([f"model={base}", "model.dtype=float32", *overrides])
        saved.save(folder, composed)
        run = composed.run
        context = RunContext(run, folder)
        book = record.Record.start(run, folder, [], choices=composed.choices)
        book.finish("finished", learning_rate=1e-3, head=head)
        model: Any = run.adapter.apply(run.model.load(head, context).model, context)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        run.adapter.save(model, folder / "model")
        tokenizer.save_pretrained(folder / "model")
        return folder

    return make


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.arange(3, 23).unsqueeze(0)).logits
    return found


@pytest.mark.parametrize("tie", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_merged_is_what_was_tuned(tuned: Any, adapter: str, tie: bool, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tuned(f"adapter={adapter}", tie=tie)
    run = saved.load(folder)
    want = logits(adapted_model(run, folder, RunContext(run, folder)).model)
    assert main(["export", str(folder), "exporter=merged", "exporter.merged.dtype=float32"]) == 0
    stock = AutoModelForCausalLM.from_pretrained(folder / "export" / "merged")
    assert (logits(stock) - want).abs().max() < 1e-5
    assert AutoTokenizer.from_pretrained(folder / "export" / "merged").chat_template
    (found,) = record.read_record(folder)["exports"]
    assert found["exporter"] == "merged"
    assert found["reloaded"]["largest"] < 1e-4
    assert "loaded again: largest difference" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:Setting `save_embedding_layers`")
def test_an_adapter_on_a_tied_head_unties_it(tuned: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tuned("adapter=lora", "adapter.targets=[q_proj,lm_head]", tie=True)
    run = saved.load(folder)
    want = logits(adapted_model(run, folder, RunContext(run, folder)).model)
    assert main(["export", str(folder), "exporter=merged", "exporter.merged.dtype=float32"]) == 0
    stock = AutoModelForCausalLM.from_pretrained(folder / "export" / "merged")
    assert stock.config.tie_word_embeddings is False
    assert (logits(stock) - want).abs().max() < 1e-5
    assert "head is untied" in capsys.readouterr().out


def test_four_bits_are_merged_as_what_they_stand_for(tuned: Any) -> None:
    pytest.importorskip("bitsandbytes", reason="pip install 'tuneforge[quantization]'")
    folder = tuned("adapter=qlora")
    run = saved.load(folder)
    want = logits(adapted_model(run, folder, RunContext(run, folder)).model)
    assert main(["export", str(folder), "exporter=merged", "exporter.merged.dtype=float32"]) == 0
    stock = AutoModelForCausalLM.from_pretrained(folder / "export" / "merged")
    assert (logits(stock) - want).abs().max() < 1e-4


def test_bfloat16_is_the_default_and_within_its_tolerance(tuned: Any) -> None:
    folder = tuned("adapter=lora")
    assert main(["export", str(folder)]) == 0
    stock = AutoModelForCausalLM.from_pretrained(folder / "export" / "merged")
    assert stock.dtype == torch.bfloat16
    (found,) = record.read_record(folder)["exports"]
    assert 1e-6 < found["reloaded"]["relative"] < found["tolerance"] == 0.05


def test_what_differs_too_much_is_not_kept(tuned: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tuned("adapter=lora")
    assert main(["export", str(folder), "exporter=merged", "exporter.merged.tolerance=1e-9"]) == 1
    said = capsys.readouterr().err
    assert "exporter=merged, loaded again, differs" in said
    assert "exporter.merged.tolerance accepts more" in said
    assert list((folder / "export").iterdir()) == []


def test_a_merge_that_changes_the_model_is_refused(tuned: Any) -> None:
    folder = tuned("adapter=lora")
    run = saved.load(folder)
    whole = type(run.adapter).merge
    try:

        def wrong(self: Any, model: Any) -> Any:
            merged = whole(self, model)
            merged.model.norm.weight.data += 0.1
            return merged

        type(run.adapter).merge = wrong  # type: ignore[method-assign]
        with pytest.raises(TuneForgeError, match="merged model's outputs differ from the adapter's by"):
            export_all(run, folder, {"merged": Merged(dtype=Precision.float32)}, RunContext(run, folder))
    finally:
        type(run.adapter).merge = whole  # type: ignore[method-assign]
    assert not (folder / "export").exists()


def test_int8_is_close_and_smaller(tuned: Any) -> None:
    pytest.importorskip("torchao", reason="pip install 'tuneforge[int8]'")
    folder = tuned("adapter=lora")
    assert main(["export", str(folder), "exporter=[int8,merged]", "exporter.merged.dtype=float32"]) == 0
    found = {one["exporter"]: one for one in record.read_record(folder)["exports"]}
    assert 0 < found["int8"]["reloaded"]["relative"] < 0.1
    sizes = {k: (folder / "export" / k / "model.safetensors").stat().st_size for k in ("int8", "merged")}
    assert sizes["int8"] < sizes["merged"]


def test_int8_without_its_library_is_refused_before_the_model_is_read(
    tuned: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tuned("adapter=lora")
    (folder / "model" / "adapter_model.safetensors").unlink()
    monkeypatch.setitem(sys.modules, "torchao", None)
    assert main(["export", str(folder), "exporter=int8"]) == 2
    assert "exporter=int8 needs torchao: pip install 'tuneforge[int8]'" in capsys.readouterr().err


def test_the_card_says_what_it_is(tuned: Any) -> None:
    folder = tuned("adapter=lora", "name='run|<script>alert(1)</script>'")
    assert main(["export", str(folder)]) == 0
    card = (folder / "export" / "merged" / "README.md").read_text()
    assert "base_model: base" in card
    assert "<script>" not in card
    assert "strategy sft, adapter lora" in card
    assert "AutoModelForCausalLM.from_pretrained" in card
    assert "Loaded again and compared with the tuned model on 1 texts" in card
    assert "Nothing was evaluated." in card


def test_an_export_is_replaced_and_others_are_kept_in_the_record(tuned: Any) -> None:
    folder = tuned("adapter=full")
    assert main(["export", str(folder), "+exporter@exporter.a=merged"]) == 0
    assert main(["export", str(folder), "exporter=merged"]) == 0
    assert main(["export", str(folder), "exporter=merged", "exporter.merged.dtype=float16"]) == 0
    assert [one["exporter"] for one in record.read_record(folder)["exports"]] == ["a", "merged"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "export: name one run directory"),
        (["nowhere"], "nowhere is no run directory"),
        (["RUN", "seed=2"], "seed=2: only exporters are chosen here"),
        (["RUN", "exporter=merge"], "exporter=merge: there is no such exporter. Did you mean 'merged'?"),
        (["RUN", "exporter=merged", "exporter.merged.dtype=int4"], "exporter.merged.dtype"),
    ],
)
def test_wrong_words(tuned: Any, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tuned("adapter=full")
    assert main(["export", *(str(folder) if w == "RUN" else w for w in words)]) == 2
    assert said in capsys.readouterr().err


def test_a_run_without_a_model(tuned: Any) -> None:
    import shutil

    folder = tuned("adapter=full")
    shutil.rmtree(folder / "model")
    run = saved.load(folder)
    with pytest.raises(ConfigError, match="the run left no model; continue it with tuneforge resume="):
        adapted_model(run, folder, RunContext(run, folder))
