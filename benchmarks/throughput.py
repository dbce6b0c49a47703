"""Loss-carrying tokens per CPU-second: TuneForge, three bare PyTorch loops and TRL, on one model and corpus.

    python benchmarks/throughput.py [--model 17m|17m-32k|260k] [--rows 48] [--repeats 3] [--share 1.0 0.5 0.3]

Each variant trains one epoch over the same rows with fused AdamW and clipping; the variants take turns, so
that a busy machine disturbs all alike, and medians are compared. Start-up, building of trainers and, for the
bare loops, all batching is left out; TuneForge's loader, log and progress are counted. `--share` is the share of
tokens that carry loss.
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

LENGTH, ROWS_PER_BATCH, PACKS_PER_BATCH, PAD = 512, 8, 4, 0
MODELS = {
    "17m": {"vocab_size": 8192, "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8,
            "num_attention_heads": 6, "num_key_value_heads": 6},
    "17m-32k": {"vocab_size": 32_000, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8,
                "num_attention_heads": 4, "num_key_value_heads": 4},
    "260k": {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 5,
             "num_attention_heads": 8, "num_key_value_heads": 4},
}  # fmt: skip
CHOSEN: dict[str, int] = {}


def model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    more = {"tie_word_embeddings": True, "pad_token_id": PAD, "bos_token_id": None, "eos_token_id": 1}
    return LlamaForCausalLM(LlamaConfig(**CHOSEN, max_position_embeddings=LENGTH, **more))


def corpus(rows: int, share: float) -> list[dict[str, list[int]]]:
    """Rows of uneven length, as conversations have; the first tokens of each carry no loss."""
    draw, made = random.Random(0), []
    for _ in range(rows):
        length = min(LENGTH, max(16, round(draw.lognormvariate(math.log(170), 0.6))))
        ids = [draw.randrange(2, CHOSEN["vocab_size"]) for _ in range(length)]
        cut = round(length * (1 - share))
        made.append({"input_ids": ids, "labels": [-100] * cut + ids[cut:]})
    return made


def padded(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    longest = max(len(r["input_ids"]) for r in rows)

    def fill(values: list[int], by: int) -> list[int]:
        return values + [by] * (longest - len(values))

    return {
        "input_ids": torch.tensor([fill(r["input_ids"], PAD) for r in rows]),
        "labels": torch.tensor([fill(r["labels"], -100) for r in rows]),
        "attention_mask": torch.tensor([fill([1] * len(r["input_ids"]), 0) for r in rows]),
    }


def packs(rows: list[dict[str, list[int]]]) -> list[dict[str, torch.Tensor]]:
    from tuneforge.rows import Encoded
    from tuneforge.training.batches.collate import collate_packed
    from tuneforge.training.batches.packing import pack

    encoded = [Encoded(r) for r in rows]
    found = [[encoded[i] for i in unit] for unit in pack(encoded, LENGTH)]
    return [collate_packed(found[i : i + PACKS_PER_BATCH], PAD, LENGTH) for i in range(0, len(found), PACKS_PER_BATCH)]


def bare(batches: list[dict[str, torch.Tensor]]) -> float:
    net = model().train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
    began = time.process_time()
    for batch in batches:
        net(**batch, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return time.process_time() - began


def bare_padded(rows: list[dict[str, list[int]]]) -> float:
    return bare([padded(rows[i : i + ROWS_PER_BATCH]) for i in range(0, len(rows), ROWS_PER_BATCH)])


def bare_grouped(rows: list[dict[str, list[int]]]) -> float:
    return bare_padded(sorted(rows, key=lambda r: -len(r["input_ids"])))


def bare_packed(rows: list[dict[str, list[int]]]) -> float:
    return bare(packs(rows))


def tuneforge(rows: list[dict[str, list[int]]]) -> float:
    import lightning.pytorch as pl

    from tuneforge.adapter.full import Full
    from tuneforge.context import RunContext
    from tuneforge.logger.csv import Csv
    from tuneforge.optimizer.adamw import AdamW
    from tuneforge.rows import Encoded, Loaded, Row
    from tuneforge.scheduler.constant import Constant
    from tuneforge.settings import Run
    from tuneforge.strategy.sft import Sft
    from tuneforge.training.fit import fit
    from tuneforge.training.text.encode import EncodedSet

    class Clock(pl.Callback):  # type: ignore[misc]
        began = ended = 0.0

        def on_train_epoch_start(self, *args: Any) -> None:
            self.began = time.process_time()

        def on_train_batch_end(self, *args: Any) -> None:
            self.ended = time.process_time()

    run = Run(
        strategy=Sft(), adapter=Full(), optimizer=AdamW(learning_rate=1e-4), scheduler=Constant(warmup=0),
        logger={"csv": Csv()},
    )  # fmt: skip
    run.trainer.accelerator, run.trainer.devices, run.trainer.max_epochs = "cpu", "1", 1
    run.batch.size, run.checkpoint.every = PACKS_PER_BATCH, 10**9
    places = [Row(columns={}, line=i) for i in range(len(rows))]
    encoded = EncodedSet(rows=[Encoded(r) for r in rows], sources=places, max_length=LENGTH)
    loaded = Loaded(model(), SimpleNamespace(pad_token_id=PAD))  # type: ignore[arg-type]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, silence():
        fit(run, loaded, encoded, None, True, RunContext(run, Path(folder)), [clock])
    return clock.ended - clock.began


def trl(rows: list[dict[str, list[int]]], packing: bool) -> float:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Clock(TrainerCallback):  # type: ignore[misc]
        began = ended = 0.0

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.began = time.process_time()

        def on_train_end(self, *args: Any, **kwargs: Any) -> None:
            self.ended = time.process_time()

    from tokenizers import Tokenizer, models

    tokens = {"<pad>": 0, "<eos>": 1}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(tokens, unk_token="<pad>")), pad_token="<pad>", eos_token="<eos>"
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, silence():
        config = SFTConfig(
            output_dir=folder, num_train_epochs=1, learning_rate=1e-4, bf16=False, gradient_checkpointing=False,
            report_to="none", use_cpu=True, save_strategy="no", disable_tqdm=True, max_length=LENGTH, packing=packing,
            per_device_train_batch_size=PACKS_PER_BATCH if packing else ROWS_PER_BATCH, logging_steps=10,
        )  # fmt: skip
        data = Dataset.from_list(copy.deepcopy(rows))
        trainer = SFTTrainer(model(), config, train_dataset=data, processing_class=tokenizer, callbacks=[clock])
        trainer.train()
    return clock.ended - clock.began


class silence:
    """Standard output and warnings of libraries left out."""

    def __enter__(self) -> None:
        self.caught = warnings.catch_warnings()
        self.caught.__enter__()
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
        self.saved, self.null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(self.null, 1)

    def __exit__(self, *error: Any) -> None:
        os.dup2(self.saved, 1)
        os.close(self.saved)
        os.close(self.null)
        logging.disable(logging.NOTSET)
        self.caught.__exit__(None, None, None)


def variants(with_trl: bool) -> dict[str, Callable[[list[dict[str, list[int]]]], float]]:
    found: dict[str, Callable[[list[dict[str, list[int]]]], float]] = {
        "tuneforge packed": tuneforge,
        "bare padded": bare_padded,
        "bare length-grouped": bare_grouped,
        "bare packed": bare_packed,
    }
    return found | ({"trl packed": lambda rows: trl(rows, packing=True)} if with_trl else {})


def measure(rows: int, repeats: int, share: float, with_trl: bool) -> None:
    data = corpus(rows, share)
    carrying = sum(len(r["labels"]) - 1 - r["labels"][1:].count(-100) for r in data)
    tokens = sum(len(r["input_ids"]) for r in data)
    chosen = variants(with_trl)
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for repeat in range(repeats + 1):  # the first turn warms up and is not counted
        for name, train in chosen.items():
            took = train(data[:8] if repeat == 0 else data)
            if repeat:
                seconds[name].append(took)
    rate = {name: carrying / statistics.median(took) for name, took in seconds.items()}
    print(
        f"\n{rows} rows, {tokens:,} tokens, {carrying / tokens:.0%} carry loss, {repeats} repeats,"
        f" torch {torch.__version__}"
    )
    print(f"{'variant':22}{'loss tokens / CPU-s':>20}{'lowest':>9}{'highest':>9}{'tuneforge is':>15}")
    for name, took in seconds.items():
        low, high = carrying / max(took), carrying / min(took)
        ratio = rate["tuneforge packed"] / rate[name]
        print(f"{name:22}{rate[name]:20.0f}{low:9.0f}{high:9.0f}{ratio:14.2f}x", flush=True)
    best = max(v for name, v in rate.items() if name.startswith("bare"))
    print(f"tuneforge / best bare loop: {rate['tuneforge packed'] / best:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--share", type=float, nargs="+", default=[1.0, 0.5, 0.3])
    parser.add_argument("--model", choices=MODELS, default="17m")
    parser.add_argument("--no-trl", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    CHOSEN.update(MODELS[given.model])
    print(f"model {given.model}: {sum(p.numel() for p in model().parameters()) / 1e6:.1f} M parameters, {CHOSEN}")
    for share in given.share:
        measure(given.rows, given.repeats, share, not given.no_trl)


if __name__ == "__main__":
    main()
