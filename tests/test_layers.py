"""Imports at module level go one way only; what is done later may be imported later."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tuneforge
from tuneforge.kinds import KINDS

PACKAGE = Path(tuneforge.__file__).parent
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "extras", "files", "cache"),
    ("rows", "conversation", "columns"),
    ("protocols",),
    ("components",),
    ("kinds", "hookspecs"),
    ("plugins",),
    ("rules", "sections", "settings", "describe"),
    ("choices", "complaints", "refusals"),
    ("experiments",),
    ("composition", "saved", "context"),
    (*KINDS, "training", "preparation", "audit", "evaluation", "comparison", "report"),
    ("builtins",),
    ("terminal", "record", "announce", "ranks"),
    ("exporting", "process", "saving"),
    ("execute", "commands", "measuring"),
    ("rank", "warm", "forked", "grid", "programs", "compare", "side_by_side", "export"),
    ("cli", "completion", "__init__"),
)
"""Left to right: a module may import, at module level, from its own layer and those before it."""
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {
    "torch",
    "transformers",
    "lightning",
    "peft",
    "numpy",
    "pyarrow",
    "datasets",
    "trl",
    "hydra",
    "omegaconf",
    "rich",
}


def part(module: str) -> str:
    """The layer's name for `tuneforge.<part>…`."""
    return [*module.split("."), "__init__"][1]


def home(file: Path) -> str:
    relative = file.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def module_level(file: Path) -> list[str]:
    """Modules that importing the file imports; TYPE_CHECKING blocks and function bodies are left out."""
    found: list[str] = []

    def walk(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.Import):
                found.extend(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                found.extend(whole if node.module == "tuneforge" else [str(node.module)])
            elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
                walk([*node.body, *node.orelse])
            elif isinstance(node, ast.Try):
                walk([*node.body, *node.orelse, *node.finalbody, *(s for h in node.handlers for s in h.body)])
            elif isinstance(node, ast.ClassDef | ast.With):
                walk(node.body)

    walk(ast.parse(file.read_text(encoding="utf-8")).body)
    return found


def test_every_module_has_a_layer() -> None:
    assert {home(f) for f in FILES} <= RANK.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(PACKAGE).as_posix())
def test_imports_go_leftwards(file: Path) -> None:
    mine = RANK[home(file)]
    wrong = []
    for module in module_level(file):
        if module.split(".")[0] != "tuneforge":
            continue
        other = part(module)
        if other not in RANK:  # a name in tuneforge/__init__.py
            assert module == "tuneforge.__version__", module
            continue
        if RANK[other] > mine:
            wrong.append(module)
    assert not wrong, f"{home(file)} stands left of {wrong}"


@pytest.mark.parametrize("file", [f for f in FILES if home(f) in ("training", "evaluation")], ids=lambda f: f.stem)
def test_training_and_evaluation_import_no_component(file: Path) -> None:
    """Not even lazily: a strategy, adapter or evaluator comes in with the run."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    modules = {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not {m for m in modules if m.split(".")[0] == "tuneforge" and part(m) in KINDS}


@pytest.mark.parametrize("group", [g for g in KINDS if (PACKAGE / g).is_dir()])
def test_component_folders_stand_apart(group: str) -> None:
    """A component imports no component of another group at module level, and declaring modules nothing heavy."""
    for file in (PACKAGE / group).glob("*.py"):
        modules = module_level(file)
        others = {part(m) for m in modules if m.split(".")[0] == "tuneforge"} & set(KINDS) - {group}
        assert not others, f"{file}: {others}"
        assert not {m.split(".")[0] for m in modules} & HEAVY, file


@pytest.mark.parametrize(
    "name", ["errors", "files", "rows", "conversation", "components", "hookspecs", "plugins", "describe"]
)
def test_the_first_layers_are_light(name: str) -> None:
    """So help, listing and completion import neither OmegaConf nor Hydra nor rich."""
    assert not {m.split(".")[0] for m in module_level(PACKAGE / f"{name}.py")} & HEAVY


def test_every_file_is_short() -> None:
    long = {f.relative_to(PACKAGE).as_posix(): n for f in FILES if (n := len(f.read_text().splitlines())) > 350}
    long.pop("components.py")  # thirteen kinds, symmetrical, read in one place
    assert not long


def test_no_folder_of_leftovers() -> None:
    """A name such as utils says nothing of what stands in it."""
    assert not [f for f in FILES if f.stem in ("utils", "util", "helpers", "common", "misc")]
