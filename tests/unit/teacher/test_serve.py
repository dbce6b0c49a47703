"""A real server: transformers serve with a small model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tuneforge.rows import Request
from tuneforge.teacher.openai import OpenAI

for module in ("openai", "fastapi", "uvicorn"):
    pytest.importorskip(module)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[str]:
    """The address of a server, ended after the test; skipped where it does not come up."""
    port = free_port()
    serve = "from transformers.cli.transformers import main; main()"
    options = ["serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (tmp_path / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", serve, *options], stdout=log, stderr=log, env=os.environ | {"HF_HUB_OFFLINE": "1"}
        )
        try:
            for _ in range(600):
                if process.poll() is not None:
                    pytest.skip(f"transformers serve ended: {(tmp_path / 'serve.log').read_text()[-500:]}")
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(20)


def test_it_answers_as_the_model_alone(serving: str, model_folder: Path, make_context: Any) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    teacher = OpenAI(model=str(model_folder), base_url=serving, concurrency=2, retries=0)
    context = make_context(large=teacher)
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    requests = [Request([{"role": "user", "content": text}], max_tokens=6) for text in ("Hello there", "Reset my VPN")]
    found = {id(r): a for r, a in teacher.complete([*requests, requests[0]._replace(schema=schema)], context)}
    assert [a.error for a in found.values()] == ["", "", ""]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_folder), AutoTokenizer.from_pretrained(model_folder)
    for request in requests:
        ids = tokenizer.apply_chat_template(
            list(request.messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        out = model.generate(**ids, max_new_tokens=6, do_sample=False, pad_token_id=0)
        answer = found[id(request)]
        assert answer.text == tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        assert (answer.prompt_tokens, answer.tokens) == (ids["input_ids"].shape[1], 6)
