"""A killed run that is resumed ends in the very weights and losses of a run that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAINEE = Path(__file__).with_name("trainee.py")
MOMENTS = int(os.environ.get("TUNEFORGE_KILLS", "4"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_random_moments_and_resumed_bit_for_bit(tmp_path):
    """`TUNEFORGE_KILLS=20` for the long form."""
    command = [sys.executable, "-W", "error", str(TRAINEE), str(tmp_path), str(MOMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30 + 10 * MOMENTS, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["steps"] > 20
    assert any(m["resumed"] > 0 for m in report["moments"]), report
    assert [m for m in report["moments"] if not m["equal"]] == []
