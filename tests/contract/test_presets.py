"""What every YAML choice keeps to, ours and those of the distributions under plugins/."""

from __future__ import annotations

import dataclasses
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from tuneforge import plugins
from tuneforge.composition import compose_config
from tuneforge.kinds import SEVERAL
from tuneforge.plugins import Owner
from tuneforge.sections import TrainerSettings
from tuneforge.settings import Run

ROOT = Path(__file__).resolve().parents[2]
OURS = sorted((ROOT / "conf").glob("*/*.yaml"))
THEIRS = sorted((ROOT / "plugins").glob("*/*/conf/*/*.yaml"))
ALL = [*OURS, *THEIRS]
TIME = re.compile(r"second|minute|hour|no time|rows")


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def catalogue() -> Any:
    """Ours and, from their source folders, the distributions under plugins/."""

    found = plugins.build(
        [e for e in metadata.entry_points(group="tuneforge") if e.dist and e.dist.name == "tuneforge"]
    )
    for project in sorted((ROOT / "plugins").glob("*/pyproject.toml")):
        sys.path.insert(0, str(project.parent))
        points = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["entry-points"]["tuneforge"]
        for name, value in points.items():
            plugins._admit(found, metadata.EntryPoint(name, value, "tuneforge"), Owner(project.parent.name, "0", name))
        sys.path.remove(str(project.parent))
    assert found.failures == []
    assert found.collisions == []
    return found


@pytest.mark.parametrize("path", [ROOT / "conf" / "config.yaml", *ALL], ids=ids)
def test_header_names_purpose_command_and_time(path: Path) -> None:
    header = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            header.append(line)
    assert header, "no header"
    assert header[0].rstrip().endswith((".", ":")) or len(header[0]) > 20
    assert any(re.match(r"#\s{2,}tuneforge\b", line) for line in header), "no command"
    assert any(TIME.search(line) for line in header[1:]), "no time"


@pytest.mark.parametrize("path", ALL, ids=ids)
def test_composes(path: Path, catalogue: Any) -> None:
    group, name = path.parent.name, path.stem
    held_out = group == "data" and name.endswith(("_test", "_validation"))
    for home in ("validation", "test") if held_out else (group,):
        run = compose_config([f"{home}=[{name}]" if group in SEVERAL else f"{home}={name}"], catalogue=catalogue).run
        assert group not in SEVERAL or list(getattr(run, home)) == [name]


@pytest.mark.parametrize("path", ALL, ids=ids)
def test_names_no_target_and_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "_target_" not in text
    assert not re.search(r"/(home|root|work|Users)/", text)


def test_config_yaml_lists_every_key_of_run() -> None:
    text = (ROOT / "conf" / "config.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    listed = {k for k in content if k != "defaults"}
    chosen = {k.removeprefix("override ") for entry in content["defaults"] if isinstance(entry, dict) for k in entry}
    keys = {f.name for f in Run.__dataclass_fields__.values()}
    assert keys <= listed | chosen
    assert listed | chosen <= keys | {"experiment"}


def test_config_yaml_repeats_the_defaults_of_run_and_comments_each_key() -> None:
    path = ROOT / "conf" / "config.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    del content["defaults"]
    schema = OmegaConf.structured(Run)
    merged = OmegaConf.merge(schema, OmegaConf.create(content))
    assert merged == schema, "a default in config.yaml differs from settings.py"
    lines = path.read_text(encoding="utf-8").split("  - experiment: null")[1].splitlines()[1:]
    bare = [x for x in lines if x.strip() and not x.lstrip().startswith("#") and "#" not in x and not x.endswith(":")]
    assert bare == []


def test_the_default_trainer_lists_every_key_with_its_default_and_a_comment() -> None:
    path = ROOT / "conf" / "trainer" / "default.yaml"
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text) == dataclasses.asdict(TrainerSettings())
    assert all(" # " in line for line in text.splitlines() if not line.startswith("#"))


def test_config_yaml_lists_every_key_below_the_groups_of_values() -> None:
    content = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text(encoding="utf-8"))
    for group in ("batch", "checkpoint", "regularization", "early_stopping", "audit", "baseline"):
        fields = OmegaConf.structured(Run.__dataclass_fields__[group].default_factory).keys()  # type: ignore[misc]
        assert set(content[group]) == set(fields), group
