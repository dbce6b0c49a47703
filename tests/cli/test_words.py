"""The command line itself: help, version, completion, plugins, and errors without a traceback or torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tuneforge import cli, completion, plugins
from tuneforge.errors import ConfigError


def tuneforge(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tuneforge.cli", *words], capture_output=True, text=True, cwd=cwd, timeout=120
    )


def imported_by(*words: str) -> set[str]:
    """Top-level modules that the command leaves imported."""
    code = f"import sys; from tuneforge import cli; cli.main({list(words)!r}); print('\\n@' + ' '.join(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    return {name.split(".")[0] for name in output.rpartition("@")[2].split()}


def test_help_names_groups_and_options() -> None:
    done = tuneforge("--help")
    assert done.returncode == 0
    for words in ("strategy", "clm, contrastive, cpo, distill, dpo", "evaluate", "--from", "completion"):
        assert words in done.stdout


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_each_command_has_its_own_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"tuneforge {command}")


def test_help_listing_and_completion_import_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "lightning", "hydra", "rich", "omegaconf", "numpy"}
    assert not heavy & imported_by("--help")
    assert not heavy & imported_by("--complete", "strategy=")
    assert not heavy & imported_by("plugins", "list")
    assert not heavy & imported_by("plugins", "show", "strategy/dpo")


def test_a_config_error_needs_no_torch() -> None:
    assert "torch" not in imported_by("strategy=dop")
    assert "torch" not in imported_by("data=/no/such/file.jsonl", "trainer.max_epochs=null")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["chekc"], ["chekc", "'check'"]),
        (["seed=1", "evaluate", "tiny"], ["'evaluate' is a command, which stands first: tuneforge evaluate …"]),
        (["--form", "x"], ["--form", "'--from'"]),
        (["--from"], ["needs a folder"]),
        (["check", "--from", "outputs/v1"], ["name the run itself: tuneforge check outputs/v1"]),
        (["check", "-m", "seed=1,2"], ["-m: belongs to run, not to check"]),
        (["evaluate", "tiny", "--from", "outputs/v1"], ["--from: belongs to run, not to evaluate"]),
        (["--from", "/no/such/run"], ["/no/such/run", "no run directory"]),
        (["resume=/no/such/run"], ["/no/such/run", "no run directory"]),
        (["strategy=dop"], ["'dpo'"]),
        (["plugins", "show", "strategy/dop"], ["strategy/dpo"]),
        (["plugins", "shw"], ["'show'"]),
        (["evaluate"], ["name a model folder"]),
        (["completion", "tcsh"], ["bash, zsh, fish"]),
        (["nosuch.yaml"], ["nosuch.yaml", "no such file"]),
        (["--config-dir", "/no/such/dir"], ["no such folder"]),
        (["-m", "strategy=sft,dop"], ["'dpo'"]),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(
    words: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    message = capsys.readouterr().err
    assert message.startswith("tuneforge: ")
    assert all(part in message for part in parts), message


def test_what_a_mistake_quotes_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["gate.require=['\x1b[2J']"]) == 2
    said = capsys.readouterr().err
    assert "\\x1b[2J" in said
    assert "\x1b" not in said


def test_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEFORGE_TRACEBACK", "1")
    with pytest.raises(ConfigError):
        cli.main(["strategy=dop"])


def test_the_installed_command_ends_without_a_traceback() -> None:
    done = tuneforge("adapter.r=4")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "adapter=lora" in done.stderr


def test_plugins_lists_what_is_installed_and_by_whom(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins"]) == 0
    listing = capsys.readouterr().out
    for reference in plugins.load().owners:
        assert reference.split("/")[1] in listing
    assert "tuneforge 0.1.0" in listing


def test_plugins_check_passes_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "check"]) == 0
    assert "ok        tuneforge 0.1.0" in capsys.readouterr().out


def test_completion_of_options_keys_lists_and_fields() -> None:
    assert completion.candidates("strategy=dp") == ["strategy=dpo"]
    assert "data=[helpdesk,replay" in completion.candidates("data=[helpdesk,rep")
    assert "+data=json" in completion.candidates("+data=js")
    assert completion.candidates("strat") == ["strategy="]
    assert "check" in completion.candidates("ch")
    assert "strategy.beta=" in completion.candidates("strategy.b")
    assert completion.candidates("seed=1") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_the_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert "tuneforge --complete" in capsys.readouterr().out


def test_bash_completes(tmp_path: Path) -> None:
    lines = [
        "_c() { COMP_LINE='tuneforge strategy=dp'; COMP_POINT=${#COMP_LINE}; _tuneforge; echo ${COMPREPLY[0]}; }",
        "_c",
    ]
    script = completion.script("bash").replace("tuneforge --complete", f"{sys.executable} -m tuneforge.cli --complete")
    script = script.replace("compopt -o nospace", ":")
    (tmp_path / "s").write_text(script + "\n".join(lines))
    done = subprocess.run(["bash", str(tmp_path / "s")], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "dpo"
