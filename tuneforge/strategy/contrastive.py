"""Embeddings by contrast with the other rows of a batch (InfoNCE)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context, Step, Strategy
from tuneforge.rows import Encoded, Loaded, Loss, Rejected, Row

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from tuneforge.rows import Batch
    from tuneforge.settings import Run
    from tuneforge.training.text.literal import RenderError


class Pooling(StrEnum):
    """How the states of a text's tokens become one vector."""

    mean = "mean"
    cls = "cls"
    last = "last"


@dataclass(kw_only=True)
class Contrastive(Strategy):
    """An embedding model: each anchor finds its own positive among those of the whole batch (arXiv:1807.03748).

    Known as InfoNCE and as multiple negatives ranking. The negatives of an anchor are the other rows of its
    optimizer step, on all devices, and every hard `negative`; a positive that is the same text as its own, or that
    belongs to the same anchor, is left out and counted. The model is saved so that sentence-transformers loads it.
    """

    name: ClassVar[str] = "contrastive"
    record: ClassVar[str] = "pair"
    head: ClassVar[str] = "embedding"
    divisible: ClassVar[bool] = False
    unit: ClassVar[str] = "pairs"
    evaluators: ClassVar[tuple[str, ...]] = ("retrieval",)

    temperature: float = 0.05
    """Similarities are divided by it; smaller looks more at the nearest negatives."""
    pooling: Pooling = Pooling.mean
    """One vector per text: mean of its tokens, cls (the first one) or last (for causal models)."""
    normalise: bool = True
    """Vectors of length 1, so that similarity is the cosine; false: the dot product."""
    symmetric: bool = False
    """Half of the loss is finding the anchor of each positive."""
    anchor_prefix: str = ""
    """Text put before each anchor, as `query: `; saved as sentence-transformers' prompt `query`."""
    positive_prefix: str = ""
    """Text put before each positive and negative, as `passage: `; saved as the prompt `document`."""
    chunk: int | None = None
    """Rows whose activations are held at once; the others are computed again in the backward pass. Null: all."""

    def check(self, run: Run) -> Iterable[str]:
        """Fields out of range, a batch without negatives, and shares of a model, whose every pass all devices share."""
        if self.temperature <= 0:
            yield f"strategy.temperature={self.temperature} must be above 0"
        if self.chunk is not None and self.chunk < 1:
            yield f"strategy.chunk={self.chunk} must be 1 or more"
        if run.batch.size == 1:
            yield "batch.size=1 leaves an anchor without negatives, which are the other rows of its forward pass"
        if run.trainer.strategy == "fsdp":
            yield (
                "trainer.strategy=fsdp: rows bring negatives or none, so that devices would make different numbers of"
                " forward passes; or take trainer.strategy=ddp"
            )

    def fits(self, loaded: Loaded, context: Context) -> Iterable[str]:
        """Micro-batches, which would change the objective; models that give no state per token, or not to the first."""
        from tuneforge.training.loss.embedding import first_sees_all
        from tuneforge.training.optimise import accumulation, device_count

        run = context.run
        if accumulation(run, device_count(run)) > 1:
            yield (
                f"batch.global_size={run.batch.global_size} would cut a step into forward passes of"
                f" batch.size={run.batch.size}, in which an anchor has fewer negatives; set batch.size to the rows of a"
                " step and strategy.chunk to what fits into memory, which gives the same gradient"
            )
        if loaded.model.config.is_encoder_decoder:
            yield "the model is an encoder with a decoder; a model of one of them is needed"
        elif self.pooling is Pooling.cls and not first_sees_all(loaded.model):
            yield "pooling=cls: the first token of a causal model sees no other; use pooling=last or pooling=mean"

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, context: Context) -> Iterator[Encoded | Rejected]:
        """Parts `anchor.*`, `positive.*` and, where the row has one, `negative.*`."""
        from tuneforge.training.objective import encode_each

        return encode_each(rows, self.record, lambda columns: self._encode(columns, tokenizer))

    def _encode(self, columns: list[Mapping[str, Any]], tokenizer: Tokenizer) -> list[Encoded | RenderError]:
        from tuneforge.training.text.literal import RenderError
        from tuneforge.training.text.render import affixed

        places = [(i, name) for i, c in enumerate(columns) for name in PARTS if c.get(name) is not None]
        texts = affixed([self.prefix(name) + columns[i][name] for i, name in places], tokenizer)
        parts: list[dict[str, Sequence[int]]] = [{} for _ in columns]
        wrong: dict[int, RenderError] = {}
        for (i, name), text in zip(places, texts, strict=True):
            if isinstance(text, RenderError):
                wrong[i] = text
            elif not text.ids:
                wrong[i] = RenderError(f"{name} has no tokens")
            else:
                parts[i][f"{name}.input_ids"] = text.ids
        for i, found in enumerate(parts):
            if "negative.input_ids" in found and found["negative.input_ids"] == found.get("positive.input_ids"):
                wrong.setdefault(i, RenderError("positive and negative are the same"))
        return [wrong.get(i) or Encoded(found) for i, found in enumerate(parts)]

    def prefix(self, column: str) -> str:
        """`anchor_prefix` for anchors, `positive_prefix` for what they are compared with."""
        return self.anchor_prefix if column == "anchor" else self.positive_prefix

    def loss_items(self, encoded: Encoded) -> int:
        """One pair per row."""
        return 1

    def collate(self, rows: Sequence[Encoded], pad: int) -> Batch:
        """As every strategy; the `negative.*` tensors have a row per row that brings one."""
        from tuneforge.training.batches.collate import collate

        batch: Batch = {}
        for part in PARTS:
            name = f"{part}.input_ids"
            bring = [Encoded({name: row.parts[name]}) for row in rows if name in row.parts]
            batch |= collate(bring, pad) if bring else {}
        return batch

    def embed(self, model: Module, batch: Batch, part: str = "") -> Tensor:
        """(rows, width) float32 embeddings as configured."""
        from tuneforge.training.loss.embedding import embed

        return embed(model, batch, part, self.pooling, normalise=self.normalise, chunk=self.chunk)

    def loss(self, model: Module, batch: Batch, step: Step) -> Loss:
        """Cross-entropy of each anchor's own positive among the candidates of all devices, summed over own pairs."""
        from tuneforge.training.loss.embedding import contrast, pool_of_all

        embeddings = {p: self.embed(model, batch, p) for p in PARTS if f"{p}.input_ids" in batch}
        pool = pool_of_all(embeddings, batch, step.counts)
        found = contrast(pool, self.temperature, symmetric=self.symmetric)
        logs = {"false_negatives": found.false_negatives, "in_batch_accuracy": found.first}
        return Loss(found.losses.sum(), len(pool.own), {name: value.float() for name, value in logs.items()})

    def save(self, folder: Path, loaded: Loaded) -> None:
        """The files by which sentence-transformers loads the folder: modules, pooling, prompts."""
        from tuneforge.training.sentence_files import write

        prompts = {"query": self.anchor_prefix, "document": self.positive_prefix}
        width = loaded.model.config.get_text_config().hidden_size
        write(folder, width, self.pooling, normalise=self.normalise, prompts=prompts)


PARTS = ("anchor", "positive", "negative")
