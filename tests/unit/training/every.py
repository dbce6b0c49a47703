"""One of two processes that train every objective in turn: `python every.py FOLDER`, its rank in the environment."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import torch
import transformers

from tests.unit.training import bert, pair, small
from tuneforge.components import Strategy
from tuneforge.errors import Preempted
from tuneforge.evaluator.answer_length import AnswerLength, Unit
from tuneforge.rows import Encoded, Loaded, Row
from tuneforge.strategy.classification import Classification
from tuneforge.strategy.contrastive import Contrastive
from tuneforge.strategy.cpo import Cpo
from tuneforge.strategy.distill import Distill
from tuneforge.strategy.grpo import Grpo
from tuneforge.strategy.kto import Kto
from tuneforge.strategy.mlm import Mlm
from tuneforge.strategy.multitask import Multitask
from tuneforge.strategy.reward import Reward
from tuneforge.strategy.sft import Sft
from tuneforge.strategy.simpo import Simpo
from tuneforge.strategy.token_classification import TokenClassification
from tuneforge.training.fit import Fitted, fit
from tuneforge.training.loss.tasks import named
from tuneforge.training.text.encode import EncodedSet

ROWS, STEPS, WORDS = 21, 6, 100
CASES = (
    "reward ddp", "cpo ddp", "kto ddp", "kto ddp known", "kto ddp half_known", "simpo ddp", "classification ddp",
    "token_classification ddp", "mlm ddp", "distill ddp", "multitask ddp", "contrastive ddp", "pairs_task ddp",
    "grpo ddp", "grpo ddp stopped", "grpo ddp resumed", "mlm ddp stopped", "mlm ddp resumed",
    "reward fsdp", "cpo fsdp", "simpo fsdp", "classification fsdp", "token_classification fsdp", "mlm fsdp",
    "distill fsdp",
)  # fmt: skip
"""Objective, how the devices share, and what else is particular."""


class Case(NamedTuple):
    """What trains on what."""

    strategy: Strategy
    rows: list[Encoded]
    model: Any


def headed(kind: str, labels: int) -> Any:
    """A small Llama with a classification head."""
    config = small.llama().config
    config.num_labels, config.classifier_dropout = labels, 0.0
    torch.manual_seed(0)
    return getattr(transformers, kind)(config)


def bare(rows: list[Encoded]) -> list[Encoded]:
    """Rows without labels."""
    return [Encoded({k: v for k, v in row.parts.items() if not k.endswith("labels")}) for row in rows]


def anchored(n: int, seed: int) -> list[Encoded]:
    """Pairs of texts, of which some bring a negative, some have one anchor and some one positive."""
    draw = random.Random(seed)
    texts = [[2, *(draw.randrange(5, WORDS) for _ in range(draw.randint(2, 9))), 3] for _ in range(3 * n)]
    found = [{"anchor.input_ids": texts[i], "positive.input_ids": texts[n + i]} for i in range(n)]
    for i in range(0, n, 3):
        found[i]["negative.input_ids"] = texts[2 * n + i]
    for i in range(4, n):
        found[i]["positive.input_ids"] = found[i - i % 4]["positive.input_ids"]
    return [Encoded(dict(parts)) for parts in found]


def case(name: str, n: int, seed: int, teacher: Path) -> Case:
    """The objective with `n` rows of its kind and a fresh model."""
    rows, pairs, texts = small.rows(n, seed), small.pairs(n, seed), small.rows(n, seed, masked=False)
    margins = [row._replace(extras={"margin": 0.1 * (i % 3)}) for i, row in enumerate(bare(pairs))]
    classes = [row._replace(parts={**row.parts, "class": [i % 3]}) for i, row in enumerate(bare(rows))]
    tags = [Encoded({**row.parts, "tags": [t % 4 - (t % 4 == 3) * 103 for t in row.parts["input_ids"]]})
            for row in bare(rows)]  # fmt: skip
    prompts = [Encoded({"prompt.input_ids": row.parts["input_ids"]}) for row in rows]
    # Few rows of the second task, so that devices have none of it in many a step.
    mixed = [named("few", r) if i % 7 == 0 else named("many", r) for i, r in enumerate(pair.judged(n, seed))]
    mixed = [Encoded({k: v for k, v in r.parts.items() if ".kl" not in k}) if "many.labels" in r.parts else r
             for r in mixed]  # fmt: skip
    paired = [named("few" if i % 7 == 0 else "many", row) for i, row in enumerate(anchored(n, seed))]
    rewards = {"rewards": ["length"], "generations": 4, "max_tokens": 6}
    return {
        "reward": lambda: Case(
            Reward(center_rewards_coefficient=0.01), margins, headed("LlamaForSequenceClassification", 1)
        ),
        "cpo": lambda: Case(Cpo(), pairs, small.llama()),
        "kto": lambda: Case(Kto(), pair.judged(n, seed), small.llama()),
        "simpo": lambda: Case(Simpo(), pairs, small.llama()),
        "classification": lambda: Case(Classification(), classes, headed("LlamaForSequenceClassification", 3)),
        "token_classification": lambda: Case(
            TokenClassification(), tags, headed("LlamaForTokenClassification", 3)
        ),
        "mlm": lambda: Case(Mlm(), texts, bert.bert()),
        "distill": lambda: Case(Distill(teacher=str(teacher), hard_weight=0.3), rows, small.llama(vocabulary=WORDS)),
        "multitask": lambda: Case(Multitask(tasks={"few": Kto(), "many": Sft()}), mixed, small.llama()),
        "contrastive": lambda: Case(
            Contrastive(symmetric=True, temperature=0.5), anchored(n, seed), bert.bert("BertModel")
        ),
        "pairs_task": lambda: Case(
            Multitask(tasks={"few": Contrastive(temperature=1.0), "many": Contrastive(temperature=0.5)}),
            paired, bert.bert("BertModel"),
        ),
        "grpo": lambda: Case(Grpo(beta=0.1, **rewards), prompts, small.llama(vocabulary=WORDS)),
    }[name]()  # fmt: skip


def train(name: str, folder: Path, world: int, rank: int = 0) -> Fitted | str:
    """Train one case with 8 rows per step, of which the last of an epoch has 5; `folder` is that of all cases."""
    kind, sharing, *more = name.split(" ")
    made = case(kind, ROWS, 0, folder / "teacher")
    whole = kind in ("contrastive", "pairs_task")  # a step is one forward pass per device
    run = small.settings(
        made.strategy,
        optimizer__learning_rate=1e-3,
        optimizer__eps=1e-4,  # less of it makes a step of what is left of gradients that are 0 but for rounding
        batch__size=(8 if world == 1 else 4) if whole else 2,
        batch__global_size=8,
        batch__packing="off",
        trainer__devices=str(world),
        trainer__strategy=sharing if world > 1 else "auto",
        trainer__max_epochs=2,
        trainer__val_check_interval=3,
        trainer__gradient_clip_val=0.5,
        checkpoint__every=3,
        early_stopping__patience=None,
        early_stopping__best=False,
        evaluator={"length": AnswerLength(most=1, slack=25, unit=Unit.characters)} if kind == "grpo" else {},
    )
    place = folder / name.replace(" resumed", " stopped")
    if "resumed" in more:
        run.resume = str(place)
    sources = [Row(columns={"prompt": "x"}, file="train.jsonl", line=i + 1) for i in range(ROWS)]
    data = EncodedSet(rows=made.rows, sources=sources, max_length=64)
    held_out = EncodedSet(rows=case(kind, 5, 9, folder / "teacher").rows, sources=sources[:5], max_length=64)
    context = small.context(run, place)
    context.cache = folder / f"cache-{world}-{rank}"
    if "half_known" in more and rank:
        shutil.rmtree(context.cache)
    stop = [pair.Stop(3)] if "stopped" in more else []
    try:
        fitted = fit(run, Loaded(made.model, bert.tokenizer()), data, held_out, False, context, stop)
    except Preempted as error:
        return str(error)
    finally:
        place.mkdir(parents=True, exist_ok=True)
        (place / f"notes-{rank}.json").write_text(json.dumps([note["text"] for note in context.notes]))
    return fitted


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    said = {}
    for name in CASES:
        os.environ |= {"MASTER_PORT": pair.port(folder, name, rank), "WORLD_SIZE": "2"}
        fitted = train(name, folder, 2, rank)
        if isinstance(fitted, str):
            said[name] = fitted
        elif rank == 0:
            said[name] = pair.leave(fitted, name, folder)
    (folder / f"said-{rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
