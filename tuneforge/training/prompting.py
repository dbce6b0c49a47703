"""Prompt learning that looks from outside like a plain causal language model.

PEFT's own forward prepends virtual tokens at every call: logits are longer than the tokens, a key-value cache
is overwritten, and positions that the caller names are dropped. Here logits stand at the tokens that were
given, virtual tokens enter once, and positions count on behind them.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModelForCausalLM, PeftType
from torch import Tensor
from torch.nn import Module


class PromptedCausalLM(PeftModelForCausalLM):  # type: ignore[misc]
    """PEFT's model for prompt learning (prefix, prompt, p-tuning) with a forward that keeps to the tokens."""

    @property
    def virtual_tokens(self) -> int:
        """Positions before the first token that are not the caller's."""
        return int(self.active_peft_config.num_virtual_tokens)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        labels: Tensor | None = None,
        **options: Any,
    ) -> Any:
        """Logits (rows, length, vocabulary) of `input_ids` (rows, length), int64.

        `attention_mask` (rows, tokens so far) and `position_ids` (rows, length) are those without virtual tokens.
        """
        rows, length, virtual = *input_ids.shape, self.virtual_tokens
        begins = past_key_values is None or not past_key_values.get_seq_length()
        fields: dict[str, Any] = {"input_ids": input_ids, "past_key_values": past_key_values, "labels": labels}
        if attention_mask is not None:
            if attention_mask.dim() != 2:
                raise ValueError("prompt learning takes a mask of (rows, tokens), one document per row")
            fields["attention_mask"] = torch.cat([attention_mask.new_ones(rows, virtual), attention_mask], 1)
        if position_ids is not None:
            fields["position_ids"] = position_ids + virtual
        if begins and self.active_peft_config.peft_type == PeftType.PREFIX_TUNING:
            fields["past_key_values"] = self.get_prompt(rows)
        elif begins:
            fields |= self._prepended(input_ids, fields.get("position_ids"), labels)
            fields["input_ids"] = None
        out = self.base_model(**{k: v for k, v in fields.items() if v is not None}, **options)
        out.logits = out.logits[:, -length:]
        return out

    def _prepended(self, input_ids: Tensor, positions: Tensor | None, labels: Tensor | None) -> dict[str, Any]:
        """Embeddings, positions and labels with the virtual tokens before the first one."""
        rows, virtual = len(input_ids), self.virtual_tokens
        embedded = self.word_embeddings(input_ids)
        fields: dict[str, Any] = {
            "inputs_embeds": torch.cat([self.get_prompt(batch_size=rows).to(embedded.dtype), embedded], 1)
        }
        if positions is not None:
            before = torch.arange(virtual, device=positions.device).expand(rows, -1)
            fields["position_ids"] = torch.cat([before, positions], 1)
        if labels is not None:
            fields["labels"] = torch.cat([labels.new_full((rows, virtual), -100), labels], 1)
        return fields


def prompted(model: Module) -> Module:
    """The same object with the forward above, where it is PEFT's causal language model."""
    if isinstance(model, PeftModelForCausalLM):
        model.__class__ = PromptedCausalLM
    return model
