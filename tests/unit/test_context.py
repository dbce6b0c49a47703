"""What components say through the context."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneforge.context import RunContext
from tuneforge.settings import Run


def test_a_note_that_quotes_data_steers_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = "never answered, as '\x1b[2Jrefund\ud800'"
    context = RunContext(Run(), tmp_path)
    context.note(said, rows=1)
    assert capsys.readouterr().out == "  note       never answered, as '\\x1b[2Jrefund\\ud800'\n"
    assert context.notes == [{"text": said, "rows": 1}]
