"""What the process from which a grid's points are forked imports once, quietly; plugins load inside each point."""

from __future__ import annotations

import importlib

from tuneforge.process import quiet_libraries

LIBRARIES = (
    "torch",
    "numpy",
    "transformers",
    "transformers.models.llama.modeling_llama",
    "lightning.pytorch",
    "peft",
    "omegaconf",
)

quiet_libraries()
for name in LIBRARIES:
    importlib.import_module(name)
