"""A Lightning logger that writes one CSV file, line by line, and survives a resumed run."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class CsvLog(Logger):  # type: ignore[misc]
    """Rows by step; columns are added as metrics appear. Numbers are written so that they read back exactly."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.rows: list[dict[str, str]] = []
        self.columns: list[str] = ["step"]
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self.columns = list(reader.fieldnames or self.columns)
                self.rows = [row for row in reader if (row.get("step") or "").isdecimal()]

    @property
    def name(self) -> str:
        """Lightning's name of the experiment."""
        return self.path.stem

    @property
    def version(self) -> str:
        """One file, one version."""
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The run record holds the configuration."""

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one line; metrics of a step that was logged before replace everything from there on."""
        row = {"step": str(step or 0)} | {k: str(v) for k, v in metrics.items() if k != "step"}
        kept = [r for r in self.rows if int(r["step"]) < int(row["step"])]
        new = [c for c in row if c not in self.columns]
        appends = len(kept) == len(self.rows) and not new and self.path.exists()
        self.rows, self.columns = [*kept, row], self.columns + new
        if appends:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns).writerow(row)
        else:
            self._rewrite()

    @rank_zero_only  # type: ignore[untyped-decorator]
    def truncate(self, step: int) -> None:
        """Forget lines after `step`: the run resumes there."""
        kept = [r for r in self.rows if int(r["step"]) <= step]
        if len(kept) < len(self.rows):
            self.rows = kept
            self._rewrite()

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(self.rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        os.replace(temporary, self.path)
