"""Rows whose texts were translated to another language and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tuneforge.components import Context
from tuneforge.errors import nearest
from tuneforge.preparation.augmenting import Augmentation, Text

if TYPE_CHECKING:
    from tuneforge.settings import Run

BATCH = 16


@dataclass(kw_only=True)
class BackTranslation(Augmentation):
    """Adds rows whose texts were translated to another language and back, sentence by sentence.

    By two sequence-to-sequence models (Marian, T5, NLLB, …), or by a teacher that is asked twice. Code, links, tags and
    line breaks stay; what comes back with another number, name or negation is rejected, as by every augmentation.
    """

    name: ClassVar[str] = "back_translation"

    forward: str = ""
    """The model that translates to the other language: a folder or a hub name."""
    back: str = ""
    """The model that translates back; it may be the same one."""
    forward_prefix: str = ""
    """Put before each sentence, as T5 wants: `translate English to German: `."""
    back_prefix: str = ""
    """The same on the way back."""
    teacher: str = ""
    """Key of a teacher that translates instead of models."""
    language: str = "French"
    """The other language, in words, for a teacher."""
    own_language: str = "English"
    """The language of the texts, in words, for a teacher."""

    def check(self, run: Run) -> Iterable[str]:
        """As every augmentation; two models or a teacher."""
        yield from super().check(run)
        key = f"transform.{self.name}"
        if self.teacher and (self.forward or self.back):
            yield f"{key}.teacher={self.teacher} translates instead of forward and back; leave these empty"
        elif self.teacher and self.teacher not in run.teacher:
            known = ", ".join(run.teacher) or "none is configured"
            yield f"{key}.teacher={self.teacher}: no such teacher ({known}).{nearest(self.teacher, run.teacher)}"
        elif not self.teacher and not (self.forward and self.back):
            yield f"{key} needs forward and back (two models: folders or hub names), or the key of a teacher"

    def change(self, texts: Sequence[Text], context: Context) -> Iterator[str]:
        """Each text with its sentences translated there and back."""
        from tuneforge.preparation.sentences import pieces

        cut = [pieces(text.text) for text in texts]
        asked = list(dict.fromkeys(piece for parts in cut for piece, prose in parts if prose))
        if self.teacher:
            there = self._asked(asked, f"Translate the text into {self.language}.", context)
            again = self._asked(list(there.values()), f"Translate the text into {self.own_language}.", context)
        else:
            there = self._translated(asked, self.forward, self.forward_prefix, context)
            again = self._translated(list(there.values()), self.back, self.back_prefix, context)
        found = {piece: again.get(other, piece) for piece, other in there.items()}
        for parts in cut:
            yield "".join(found.get(piece, piece) if prose else piece for piece, prose in parts)

    def _translated(self, texts: Sequence[str], path: str, prefix: str, context: Context) -> dict[str, str]:
        """Text → its translation, greedily, texts of like length together."""
        import torch

        model: Any
        model, tokenizer = context.frozen(path, "seq2seq")
        ordered = sorted(dict.fromkeys(texts), key=len)
        found: dict[str, str] = {}
        for at in range(0, len(ordered), BATCH):
            some = ordered[at : at + BATCH]
            batch = tokenizer([prefix + text for text in some], return_tensors="pt", padding=True).to(model.device)
            batch.pop("token_type_ids", None)
            with torch.no_grad():
                ids = model.generate(
                    **batch, max_new_tokens=2 * batch["input_ids"].shape[1] + 10, do_sample=False, num_beams=1
                )
            found |= zip(some, tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True)
        return found

    def _asked(self, texts: Sequence[str], task: str, context: Context) -> dict[str, str]:
        """Text → the teacher's translation; those that failed are left out, and counted."""
        from tuneforge.rows import Request

        system = {"role": "system", "content": f"{task} Answer with the translation alone."}
        requests = [
            Request([system, {"role": "user", "content": text}], max_tokens=len(text) + 50, seed=context.seed)
            for text in dict.fromkeys(texts)
        ]
        found: dict[str, str] = {}
        for request, answer in context.teacher(self.teacher).complete(iter(requests), context):
            if answer.error or answer.finish != "stop" or not answer.text.strip():
                context.counts["teacher's failures"] += 1
            else:
                found[request.messages[-1]["content"]] = answer.text.strip()
        return found
