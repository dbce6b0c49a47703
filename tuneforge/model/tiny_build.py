"""Makes the folder tiny_weights/, from which `model=tiny` loads.

1. `python -m tuneforge.model.tiny_build` writes the configuration and the tokenizer,
2. `tuneforge experiment=pretrain_tiny output_dir=RUN` trains a fresh model,
3. `python -m tuneforge.model.tiny_build RUN/model` writes its weights, in bfloat16.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tuneforge.model.tiny import FOLDER
from tuneforge.model.tiny_tokenizer import CONTEXT, VOCABULARY, save

SHAPE = {"hidden_size": 160, "intermediate_size": 448, "num_hidden_layers": 4, "num_attention_heads": 5}


def write_config(folder: Path) -> None:
    """config.json and generation_config.json of a Llama of 1.4 M parameters; greedy decoding."""
    from transformers import GenerationConfig, LlamaConfig

    tokens = {"bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
    config = LlamaConfig(
        vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, tie_word_embeddings=True, **SHAPE, **tokens
    )
    config.architectures = ["LlamaForCausalLM"]
    config.dtype = "bfloat16"
    config.save_pretrained(folder)
    GenerationConfig(**tokens, do_sample=False).save_pretrained(folder)


def write_weights(trained: Path, folder: Path) -> None:
    """model.safetensors in bfloat16, from a trained model's folder."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(str(trained), dtype=torch.bfloat16)
    named = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})


def main(arguments: list[str]) -> None:
    """Write what the arguments ask for."""
    if arguments:
        write_weights(Path(arguments[0]), FOLDER)
    else:
        write_config(FOLDER)
        save(FOLDER)


if __name__ == "__main__":
    main(sys.argv[1:])
