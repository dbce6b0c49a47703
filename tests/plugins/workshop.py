"""Wheels truly built and truly installed into folders of their own, and commands run with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).with_name("sources")
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "tuneforge-{name}"
version = "1.2.3"
[project.entry-points.tuneforge]
{name} = "tuneforge_{name}"
[tool.hatch.build.targets.wheel]
packages = ["tuneforge_{name}"]
"""


@dataclass
class Workshop:
    """Builds each wheel once; every installation is a folder for PYTHONPATH."""

    folder: Path
    built: dict[str, Path] = field(default_factory=dict)

    def source(self, name: str) -> Path:
        """The project folder of `tuneforge-<name>`: ours under plugins/, or made from sources/."""
        shipped = ROOT / "plugins" / f"tuneforge-{name}"
        project = self.folder / "projects" / name
        if not project.exists():
            if shipped.is_dir():
                shutil.copytree(shipped, project, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                inside = project / f"tuneforge_{name}"
                shutil.copytree(SOURCES / inside.name, inside, ignore=shutil.ignore_patterns("__pycache__"))
                (project / "pyproject.toml").write_text(PYPROJECT.format(name=name), encoding="utf-8")
        return project

    def wheel(self, project: Path) -> Path:
        """The wheel of a project folder."""
        found = self.built.get(str(project))
        if found is None:
            target = self.folder / "wheels" / project.name
            call("-m", "hatchling", "build", "-t", "wheel", "-d", str(target), cwd=project)
            found = self.built[str(project)] = next(target.glob("*.whl"))
        return found

    def install(self, *projects: str | Path) -> Path:
        """A folder in which the wheels of these projects are installed."""
        folders = [self.source(p) if isinstance(p, str) else p for p in projects]
        target = self.folder / "installed" / "-".join(f.name for f in folders)[:60]
        if not target.exists():
            wheels = [str(self.wheel(f)) for f in folders]
            options = ("--quiet", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check")
            call("-m", "pip", "install", *options, "--target", str(target), *wheels, cwd=self.folder)
        return target


def call(
    *arguments: str, cwd: Path, path: Path | None = None, environment: Mapping[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """This Python with these arguments and `path` on PYTHONPATH; fails unless it exits with `code`."""
    own = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | dict(environment or {})
    own.pop("PYTHONPATH", None)
    if path is not None:
        own["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=own, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def tuneforge(*words: str, cwd: Path, path: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command line with what is installed in `path`."""
    return call("-m", "tuneforge.cli", *words, cwd=cwd, path=path, code=code)
