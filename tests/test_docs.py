"""The documentation says what the code does: hooks, keys, names, commands, links, and the tutorial itself."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plugins.workshop import ROOT, Workshop, call, tuneforge
from tuneforge import cli, commands, completion, composition, describe, hookspecs, plugins, saved, side_by_side
from tuneforge.audit.checks import CHECKS
from tuneforge.complaints import FAMILIAR
from tuneforge.composition import compose_config
from tuneforge.kinds import HELD_OUT_GROUPS, KINDS, REQUIRED_METHODS
from tuneforge.measuring import measuring
from tuneforge.plugins import Catalogue
from tuneforge.settings import Run

DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(DOCS.glob("*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
]
HOOKS = [name for name in dir(hookspecs) if name.startswith("tuneforge_")]
BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^\*\*`(?P<name>[^`]+)`\*\*\n\n```\w*\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, *kinds: str) -> Iterator[str]:
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if match["kind"] in kinds:
            yield match["text"]


def command_lines() -> list[tuple[str, str]]:
    """(page, line) of every command that begins with `tuneforge`, also behind `&&`."""
    found = []
    for page in PAGES:
        for text in blocks(page, "bash", "console"):
            for line in text.splitlines():
                for part in line.removeprefix("$ ").split(" && "):
                    if re.match(r"tuneforge( |$)", part.strip()):
                        found.append((page.relative_to(ROOT).as_posix(), part.strip()))
    return found


# ---------------------------------------------------------------- hooks


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_stands_with_its_exact_signature(hook: str) -> None:
    signature = f"{hook}{inspect.signature(getattr(hookspecs, hook))}".replace("'", "")
    assert f"`{signature}`" in (DOCS / "hooks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_has_a_test_of_its_name(hook: str) -> None:
    sources = [f.read_text(encoding="utf-8") for f in (ROOT / "tests").rglob("test_*.py")]
    assert any(f"def test_{hook}(" in text for text in sources)


def test_hooks_page_names_no_other_hook_and_the_required_methods() -> None:
    text = (DOCS / "hooks.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(tuneforge_\w+)\(", text)) == set(HOOKS)
    for group, methods in REQUIRED_METHODS.items():
        row = next(line for line in text.splitlines() if f"`tuneforge_{group}()" in line)
        assert all(f"`{m}`" in row for m in methods), row


@pytest.mark.parametrize("event", [hookspecs.RunStarted, hookspecs.StageFinished, hookspecs.RunFinished])
def test_events_fields_are_listed(event: Any) -> None:
    text = (DOCS / "hooks.md").read_text(encoding="utf-8")
    part = text[text.index(f"event: {event.__name__}") :].split("####")[0]
    assert [f.name for f in dataclasses.fields(event) if f"`{f.name}`" not in part] == []


# ---------------------------------------------------------------- config


def keys(cls: type, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(dotted key, default, text) of every value of Run that is no component."""
    texts = describe.field_texts(cls)
    for item in dataclasses.fields(cls):
        made = item.default_factory
        if isinstance(made, type) and dataclasses.is_dataclass(made):
            yield from keys(made, f"{prefix}{item.name}.")
        elif item.name not in KINDS and item.name not in HELD_OUT_GROUPS:
            default = made() if callable(made) else item.default
            yield f"{prefix}{item.name}", default, texts[item.name]


def test_config_page_lists_every_key_with_default_and_text() -> None:
    text = (DOCS / "config.md").read_text(encoding="utf-8")
    rows = [f"| `{key}` | `{describe._scalar(default)}` | {words} |" for key, default, words in keys(Run)]
    assert [row for row in rows if row not in text] == []


def test_config_page_lists_every_group() -> None:
    text = (DOCS / "config.md").read_text(encoding="utf-8").split("## Groups")[1].split("## Keys")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(plugins.GROUPS)
    defaults = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    for group, option in ((g, o) for entry in defaults if isinstance(entry, dict) for g, o in entry.items() if o):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{group}` |"))
        assert f"`{option[0] if isinstance(option, list) else option}`" in row


def test_familiar_names_are_those_that_are_answered() -> None:
    text = (DOCS / "config.md").read_text(encoding="utf-8").split("## Names from elsewhere")[1]
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", text, re.MULTILINE)
    assert {name: ours.replace("`", "") for name, ours in rows} == dict(FAMILIAR)


@pytest.mark.parametrize("ours", sorted(set(FAMILIAR.values())))
def test_familiar_names_lead_somewhere(ours: str) -> None:
    key = ours.split(" ")[0].split("=")[0]
    group, _, field = key.partition(".")
    if key in {k for k, _, _ in keys(Run)} or key in plugins.GROUPS:
        return
    home = "data" if group in HELD_OUT_GROUPS else group
    fields = {
        f.name
        for ref, c in plugins.load().components.items()
        if ref.startswith(f"{home}/")
        for f in dataclasses.fields(c)
    }
    assert field.split(".")[-1] in fields, ours


# ---------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("documented"))


@pytest.fixture(scope="module")
def installed(workshop: Workshop) -> Path:
    """The tutorial's distribution, from the files that the page prints, and those under plugins/."""
    project = workshop.folder / "tuneforge-words"
    for match in FILE.finditer((DOCS / "plugin-tutorial.md").read_text(encoding="utf-8")):
        path = project / match["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(match["text"], encoding="utf-8")
    return workshop.install(project, "orpo")


@pytest.fixture(scope="module")
def catalogue(installed: Path) -> Iterator[Catalogue]:
    plugins.load()  # the one of this process is made first, without them
    sys.path.insert(0, str(installed))
    own = [e for e in metadata.entry_points(group="tuneforge") if e.dist and e.dist.name == "tuneforge"]
    found = [e for d in metadata.distributions(path=[str(installed)]) for e in d.entry_points if e.group == "tuneforge"]
    yield plugins.build([*own, *found])
    sys.path.remove(str(installed))
    for name in [m for m in sys.modules if m.startswith(("tuneforge_words", "tuneforge_orpo"))]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def latest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory."""
    run = tmp_path_factory.mktemp("latest")
    saved.save(run, compose_config([]))
    return run


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, latest: Path) -> Path:
    """A folder with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "named by a page")
    support = next(t for t in blocks(DOCS / "first-run.md", "yaml") if t.startswith("# support.yaml"))
    (tmp_path / "support.yaml").write_text(support, encoding="utf-8")
    mine = next(t for t in blocks(DOCS / "config.md", "yaml") if "train.jsonl, replay" in t)
    (tmp_path / "my.yaml").write_text(mine, encoding="utf-8")
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "nightly.yaml").write_text(f"# @package _global_\n{mine}", encoding="utf-8")
    (tmp_path / "handbook").mkdir()
    for name in ("handbook/vpn.md", "system.txt"):
        (tmp_path / name).write_text("Reset it in the portal.", encoding="utf-8")
    run = tmp_path / "outputs" / "latest"
    shutil.copytree(latest, run)
    (run / "run.json").write_text(json.dumps({"status": "preempted"}), encoding="utf-8")
    row = dict.fromkeys(("evaluator", "set", "split", "protocol", "versus"), "") | {"model": "tuned"}
    (run / "metrics.json").write_text(json.dumps({"rows": [row]}), encoding="utf-8")
    (run / "samples.jsonl").touch()
    return tmp_path


def test_there_are_commands() -> None:
    assert len(command_lines()) > 40


@pytest.mark.parametrize(("page", "line"), command_lines(), ids=lambda x: str(x)[:60])
def test_command_means_something(page: str, line: str, desk: Path, catalogue: Catalogue) -> None:
    words = shlex.split(line, comments=True)[1:]
    arguments = cli.parse(words)
    overrides = [o for o in arguments.overrides if not o.startswith("resume=")]
    if arguments.command == "plugins":
        action, *names = arguments.paths or ["list"]
        assert action in ("list", "show", "check")
        assert all(describe.show(name, catalogue) for name in names)
    elif arguments.command == "completion":
        assert completion.script(arguments.paths[0])
    elif arguments.help or arguments.version:
        assert not overrides
    elif arguments.command == "compare":
        assert {o.split("=")[0] for o in overrides} <= set(side_by_side.KEYS)
    elif arguments.command == "evaluate":
        assert measuring(arguments.paths, overrides, arguments.config_dirs).run.test
    elif len(overrides) < len(arguments.overrides):  # resume
        assert all(o.split("=")[0] in commands.RESUMABLE for o in overrides)
    elif arguments.source:
        assert commands._repeat(Path(arguments.source), overrides, None).config
    else:
        points = composition.points(overrides, catalogue) if arguments.multirun else [overrides]
        file = next((p for p in arguments.paths if p.endswith(".yaml")), None)
        if arguments.command == "run":
            assert all(p == file for p in arguments.paths)
        for point in points:
            composed = compose_config(point, file=file, config_dirs=arguments.config_dirs, catalogue=catalogue)
            assert composed.run.strategy


# ---------------------------------------------------------------- tutorial


def test_tutorials_wheel_adds_its_evaluator(installed: Path, tmp_path: Path) -> None:
    done = tuneforge("plugins", "show", "evaluator/valid_json", "evaluator/ticket_json", cwd=tmp_path, path=installed)
    assert "keys: []" in done.stdout
    assert "keys: [queue, urgency, device]" in done.stdout
    assert "ok        tuneforge-words 0.1.0" in tuneforge("plugins", "check", cwd=tmp_path, path=installed).stdout


def test_tutorials_own_tests_pass(workshop: Workshop, installed: Path, tmp_path: Path) -> None:
    tests = workshop.folder / "tuneforge-words" / "tests"
    assert "2 passed" in call("-m", "pytest", str(tests), cwd=tmp_path, path=installed).stdout


def test_tutorials_files_are_all_there(workshop: Workshop, installed: Path) -> None:
    text = (DOCS / "plugin-tutorial.md").read_text(encoding="utf-8")
    tree = text[text.index("    tuneforge-words/") : text.index("## 1.")]
    names = {Path(n).name for n in re.findall(r"[\w/.-]+\.\w+", tree)}
    printed = {Path(m["name"]).name for m in FILE.finditer(text)}
    assert names == printed - {"test_valid_json.py"}


def test_hooks_page_examples_are_python() -> None:
    for page in (DOCS / "hooks.md", DOCS / "plugin-tutorial.md"):
        for text in blocks(page, "python"):
            compile(text, str(page), "exec")


# ---------------------------------------------------------------- pages


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)", page.read_text(encoding="utf-8")):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads}
            assert anchor[1:] in slugs, f"{page.name}: {target}{anchor}"


def test_every_page_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [p.name for p in DOCS.glob("*.md") if f"docs/{p.name}" not in text] == []


def test_evaluators_and_files_named_in_the_pages_exist() -> None:
    text = (DOCS / "evaluation.md").read_text(encoding="utf-8")
    table = text.split("## Evaluators")[1].split("## Intervals")[0]
    options = plugins.load().options("evaluator")
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(options)


def test_audit_page_lists_every_check_in_order() -> None:
    text = (DOCS / "audit.md").read_text(encoding="utf-8").split("## The checks")[1].split("### ")[0]
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(CHECKS)


def test_exit_codes_are_the_errors_own() -> None:
    from tuneforge import errors

    text = (DOCS / "concepts.md").read_text(encoding="utf-8")
    codes = {c.exit_code for c in vars(errors).values() if inspect.isclass(c) and hasattr(c, "exit_code")}
    assert all(re.search(rf"^\| {code} \|", text, re.MULTILINE) for code in codes)
