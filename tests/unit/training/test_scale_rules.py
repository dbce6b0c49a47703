"""What cannot be shared out over devices is refused before anything is read."""

from __future__ import annotations

import pytest

from tuneforge.composition import compose_config
from tuneforge.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["trainer.precision=16-mixed"], "trainer.precision=16-mixed is none of 32-true, bf16-mixed, bf16-true"),
        (["optimizer=lion"], "optimizer=lion cannot work on shares"),
        (["adapter=qlora"], "the weights under adapter=qlora cannot be shared out"),
        (["adapter=gradual_unfreezing"], "what trains cannot change on the way"),
        (["strategy=grpo"], "strategy=grpo generates"),
        (["trainer.num_nodes=0"], "trainer.num_nodes=0: must be 1 or more"),
    ],
)
def test_an_impossible_combination_says_why(words: list[str], why: str) -> None:
    compose_config([w for w in words if "num_nodes" not in w and "grpo" not in w])  # possible without shares
    with pytest.raises(ConfigError, match=why):
        compose_config(["trainer=fsdp", *words])
