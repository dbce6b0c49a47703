"""Distributions that are good, broken, colliding, slow or mistaken, installed as users install them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugins.workshop import ROOT, Workshop, call, tuneforge

TROUBLE = {
    "broken": "ModuleNotFoundError: No module named 'no_such_library'",
    "leaving": "SystemExit: 3",
    "misspelt": "unknown hook 'tuneforge_strategi'. Did you mean 'tuneforge_strategy'?",
    "unmarked": "'tuneforge_strategy' lacks the decorator @hookimpl",
    "argument": "hook 'tuneforge_callbacks' gets run, found 'trainer'",
    "undecorated": "tuneforge_transform returned 'Plain', which lacks the decorator @dataclass(kw_only=True)",
    "hollow": "tuneforge_strategy returned 'Hollow', which does not implement loss",
    "literal": "transform/choosy: field 'side': ",
    "astray": "'strategies' is no config group. Did you mean 'strategy'?",
}
"""Name of a distribution → what is said of it."""


@pytest.fixture(scope="module")
def zoo(workshop: Workshop) -> Path:
    """One good distribution among all those that are mistaken."""
    return workshop.install("orpo", *TROUBLE)


def composed(path: Path, cwd: Path, *overrides: str) -> str:
    """Names of strategy and adapter of a run composed with what is installed."""
    code = "import sys, tuneforge; r = tuneforge.compose(sys.argv[1:]); print(r.strategy.name, r.adapter.name)"
    return call("-c", code, *overrides, cwd=cwd, path=path).stdout.strip()


def test_good_plugin_enters_by_its_entry_point(workshop: Workshop, tmp_path: Path) -> None:
    path = workshop.install("orpo")
    assert composed(path, tmp_path, "strategy=orpo_lora") == "orpo lora"
    assert "tuneforge-orpo 0.1.0" in tuneforge("plugins", "check", cwd=tmp_path, path=path).stdout
    assert "orpo, orpo_lora" in tuneforge("--help", cwd=tmp_path, path=path).stdout
    assert "odds_weight: 0.1" in tuneforge("plugins", "show", "strategy/orpo", cwd=tmp_path, path=path).stdout


def test_good_plugins_own_tests_pass_with_its_wheel(workshop: Workshop, tmp_path: Path) -> None:
    tests = ROOT / "plugins" / "tuneforge-orpo" / "tests"
    done = call("-m", "pytest", str(tests), cwd=tmp_path, path=workshop.install("orpo"))
    assert "10 passed" in done.stdout  # real training among them


def test_orpo_imports_public_names_only() -> None:
    import ast

    public = {"components", "rows", "hookspecs", "errors", "conversation", "training.objective", "training.render"}
    modules = set()
    for file in (ROOT / "plugins" / "tuneforge-orpo" / "tuneforge_orpo").glob("*.py"):
        nodes = [n for n in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(n, ast.ImportFrom)]
        modules |= {str(n.module) for n in nodes if str(n.module).split(".")[0] == "tuneforge"}
        assert not [a.name for n in nodes for a in n.names if a.name.startswith("_")]
    assert modules <= {"tuneforge", *(f"tuneforge.{m}" for m in public)}


def test_every_mistake_is_one_clear_line(zoo: Path, tmp_path: Path) -> None:
    done = tuneforge("plugins", "check", cwd=tmp_path, path=zoo, code=2)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    for name, reason in TROUBLE.items():
        assert len([x for x in failed if f"tuneforge-{name} 1.2.3: " in x and reason in x]) == 1, (name, failed)
    assert len(failed) == len(TROUBLE) + 2  # tuneforge-hollow errs three times
    assert "Traceback" not in done.stdout + done.stderr


def test_other_plugins_live_on(zoo: Path, tmp_path: Path) -> None:
    assert composed(zoo, tmp_path, "strategy=orpo", "+transform=sound") == "orpo full"
    listing = tuneforge("plugins", cwd=tmp_path, path=zoo)
    assert "orpo_lora" in listing.stdout
    assert listing.stderr.count("is skipped") >= len(TROUBLE)


def test_asking_for_a_broken_plugin_is_the_error(zoo: Path, tmp_path: Path) -> None:
    error = tuneforge("strategy=broken", cwd=tmp_path, path=zoo, code=2).stderr
    message = error[error.index("tuneforge: strategy=broken") :]
    assert "there is no such strategy" in message
    assert f"plugin tuneforge-broken 1.2.3 is skipped: {TROUBLE['broken']}" in message
    assert "Traceback" not in error


def test_asking_for_an_unusable_component_is_the_error(zoo: Path, tmp_path: Path) -> None:
    error = tuneforge("+transform=choosy", cwd=tmp_path, path=zoo, code=2).stderr
    assert "transform/choosy: field 'side'" in error[error.index("tuneforge: transform=choosy") :]


def test_a_saved_run_of_a_missing_plugin_names_it(workshop: Workshop, zoo: Path, tmp_path: Path) -> None:
    save = (
        "import pathlib, tuneforge.saved as s; from tuneforge.composition import compose_config as c;"
        "s.save(pathlib.Path('run'), c(['strategy=orpo']))"
    )
    (tmp_path / "run").mkdir()
    call("-c", save, cwd=tmp_path, path=workshop.install("orpo"))
    assert json.loads((tmp_path / "run" / "types.json").read_text())["strategy"] == "strategy/orpo"
    error = tuneforge("--from", "run", cwd=tmp_path, path=workshop.install("broken"), code=2).stderr
    assert "no component 'strategy/orpo' is installed" in error
    assert "tuneforge-broken" in error


@pytest.mark.parametrize(("name", "reference"), [("colliding", "strategy/dpo"), ("shadow", "strategy/lora")])
def test_one_name_of_two_owners_is_an_error(workshop: Workshop, tmp_path: Path, name: str, reference: str) -> None:
    path = workshop.install(name)
    error = tuneforge("seed=1", cwd=tmp_path, path=path, code=2).stderr
    expected = f"{reference} is claimed by both tuneforge 0.1.0 and tuneforge-{name} 1.2.3; uninstall one of them"
    assert error.strip() == f"tuneforge: {expected}"
    assert f"COLLISION {expected}" in tuneforge("plugins", "check", cwd=tmp_path, path=path, code=2).stdout


def test_slow_plugin_is_named_with_its_seconds(workshop: Workshop, tmp_path: Path) -> None:
    done = tuneforge("plugins", "check", cwd=tmp_path, path=workshop.install("slow"))
    line = next(x for x in done.stdout.splitlines() if "tuneforge-slow" in x)
    assert line.endswith("SLOW: imports torch at load")
    assert float(line.split("loaded in ")[1].split(" s")[0]) > 0.3
