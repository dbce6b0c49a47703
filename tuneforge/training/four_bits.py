"""Models whose frozen weights are in four bits (bitsandbytes)."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import Linear, Module


def keep_exact(model: Module) -> None:
    """Keep bitsandbytes from repacking weights on the CPU in eval mode.

    It would round the scales once more, so that another model would be measured than the one that trains.
    """
    layers: list[Any] = list(model.modules())
    for layer in layers:
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def merged(model: Any) -> Module:
    """The base model of a PEFT LoRA model in float32: 4-bit weights as they are, plus the update."""
    from peft.tuners.lora import LoraLayer

    base: Any = model.get_base_model()
    for path, layer in list(base.named_modules()):
        if isinstance(layer, LoraLayer):
            delta = sum(layer.get_delta_weight(name).float() for name in layer.active_adapters)
            _put(base, path, _plain(layer.get_base_layer(), delta))
    for path, layer in list(base.named_modules()):
        if type(layer).__name__ == "Linear4bit":
            _put(base, path, _plain(layer))
        elif type(layer).__name__ == "ModulesToSaveWrapper":
            _put(base, path, layer.modules_to_save[layer.active_adapters[0]])
    base.config.quantization_config = None
    base.is_loaded_in_4bit = base.is_quantized = False
    for name in ("hf_quantizer", "quantization_method"):
        if hasattr(base, name):
            delattr(base, name)
    plain: Module = base.float()
    return plain


def _plain(layer: Any, delta: Any = 0) -> Linear:
    """A Linear in float32 of the weights of `layer`, in four bits or not."""
    weight = layer.weight.data
    if hasattr(layer.weight, "quant_state"):
        from bitsandbytes.functional import dequantize_4bit

        weight = dequantize_4bit(weight, layer.weight.quant_state)
    with torch.no_grad():
        made = Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None, device=weight.device)
        made.weight.copy_(weight.float() + delta)
        if layer.bias is not None:
            made.bias.copy_(layer.bias)
    return made


def _put(model: Module, path: str, layer: Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer)
