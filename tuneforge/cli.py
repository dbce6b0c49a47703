"""`tuneforge [COMMAND] [PATH…] [OVERRIDE…]`: what the words on the command line mean."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuneforge import __version__
from tuneforge.errors import ConfigError, TuneForgeError, nearest, printable

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
"""What the operating system says of a full disk or a folder that may not be written."""
COMMANDS = {
    "run": "data, proof, baseline, training, evaluation, verdict (the default)",
    "check": "everything before the first step; also on a finished run: tuneforge check RUN",
    "evaluate": "MODEL… : only the evaluators, on model folders, adapters and runs",
    "compare": "RUN… : runs, grids and evaluated models side by side, on one protocol",
    "export": "RUN: the tuned model merged, cast or quantised, compared with the original",
    "plugins": "list what is installed; show GROUP/NAME; check",
    "completion": "bash, zsh or fish: print the completion script",
}
OPTIONS = {
    "-h, --help": "this text; with a COMMAND, its own",
    "--version": "the version",
    "-m, --multirun": "a grid: seed=1,2 strategy=sft,dpo",
    "--from RUN": "repeat a run in a fresh directory, with overrides",
    "--config-dir DIR": "a folder of your own YAML, laid out by group",
}
HELP = {
    "run": "tuneforge run [FILE.yaml] [KEY=VALUE…]\n\n  tuneforge strategy=dpo\n  tuneforge my.yaml seed=2\n"
    "  tuneforge resume=outputs/latest\n  tuneforge --from outputs/latest seed=2\n"
    "  tuneforge -m strategy=lora adapter.r=4,16 seed=1,2",
    "check": "tuneforge check [RUN | FILE.yaml] [KEY=VALUE…]\n\n"
    "Reads the data, proves mask, packing and leakage, plans time; trains nothing.",
    "evaluate": "tuneforge evaluate MODEL… [KEY=VALUE…]\n\n  tuneforge evaluate outputs/latest\n"
    "  tuneforge evaluate ./adapter ./base test=test.jsonl evaluator=exact_match",
    "compare": "tuneforge compare RUN RUN… [against=RUN] [output_dir=DIR]\n\n"
    "  tuneforge compare outputs/2026-11-28/10-02-11-sft outputs/latest\n  tuneforge compare GRID",
    "export": "tuneforge export RUN [exporter=NAME] [exporter.NAME.KEY=VALUE…]\n\n  tuneforge export outputs/latest\n"
    "  tuneforge export outputs/latest exporter=merged exporter.merged.dtype=float16",
    "plugins": "tuneforge plugins [list | show GROUP/NAME | check]",
    "completion": 'tuneforge completion bash|zsh|fish\n\n  eval "$(tuneforge completion bash)"',
}


@dataclass
class Arguments:
    """The words of a command line, sorted."""

    command: str = "run"
    paths: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    config_dirs: list[str] = field(default_factory=list)
    multirun: bool = False
    source: str | None = None
    """The run directory of --from."""
    help: bool = False
    version: bool = False


def parse(words: Sequence[str]) -> Arguments:
    """Sort the words; ConfigError for an option or command that does not exist."""
    arguments = Arguments()
    rest = list(words)
    if rest and rest[0] in COMMANDS:
        arguments.command = rest.pop(0)
    while rest:
        word = rest.pop(0)
        if word in ("-h", "--help"):
            arguments.help = True
        elif word == "--version":
            arguments.version = True
        elif word in ("-m", "--multirun"):
            arguments.multirun = True
        elif word.split("=")[0] in ("--from", "--config-dir"):
            _valued(word, rest, arguments)
        elif word.startswith("-"):
            known = [o for line in OPTIONS for o in re.findall(r"--?[a-z-]+", line)]
            raise ConfigError(f"{word}: there is no such option.{nearest(word, known)}")
        elif _is_override(word):
            arguments.overrides.append(word)
        else:
            arguments.paths.append(word)
    return arguments


def _valued(word: str, rest: list[str], arguments: Arguments) -> None:
    option, _, value = word.partition("=")
    if not value and not rest:
        raise ConfigError(f"{option}: needs a folder")
    value = value or rest.pop(0)
    if option == "--from":
        arguments.source = value
    else:
        arguments.config_dirs.append(value)


def _is_override(word: str) -> bool:
    return bool(re.match(r"^(\+{0,2}[\w@:./]+=|~\w)", word)) and not os.path.exists(word)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; the exit code. Expected errors are one message on stderr, without a traceback."""
    # Threads that wait by spinning make two runs on the same cores 30 times as slow (measured); asleep, 2 times.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return dispatch(sys.argv[1:] if words is None else list(words))
    except TuneForgeError as error:
        if os.environ.get("TUNEFORGE_TRACEBACK"):
            raise
        sys.stderr.write(f"tuneforge: {printable(str(error))}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("tuneforge: interrupted\n")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in UNWRITABLE or os.environ.get("TUNEFORGE_TRACEBACK"):
            raise
        sys.stderr.write(f"tuneforge: {error.filename or 'a file'} cannot be written: {error.strerror}\n")
        return 1


def dispatch(words: list[str]) -> int:
    """The command's own function, imported only when it is needed."""
    if words[:1] == ["--complete"]:
        return _complete(words[1:])
    arguments = parse(words)
    if arguments.version:
        sys.stdout.write(f"tuneforge {__version__}\n")
        return 0
    if arguments.help:
        sys.stdout.write(help_text(arguments.command if words[0] in COMMANDS else ""))
        return 0
    _refuse_idle_options(arguments)
    _say_failures()
    command = {
        "plugins": _plugins, "completion": _completion, "evaluate": _evaluate, "compare": _compare, "export": _export
    }.get(arguments.command, _run)  # fmt: skip
    return command(arguments)


def _refuse_idle_options(arguments: Arguments) -> None:
    """An option that the command would not look at."""
    name = arguments.command
    if arguments.source and name == "check":
        raise ConfigError(f"check: name the run itself: tuneforge check {arguments.source}")
    for option, given in (("--from", arguments.source), ("-m", arguments.multirun)):
        if given and name != "run":
            raise ConfigError(f"{option}: belongs to run, not to {name}")


def _say_failures() -> None:
    from tuneforge import plugins

    for failure in plugins.load().failures:
        sys.stderr.write(f"tuneforge: plugin {failure.owner} is skipped: {failure.reason}\n")


def help_text(command: str) -> str:
    """Usage; without a command, the groups and their options too."""
    if command:
        return f"{HELP[command]}\n"
    from tuneforge import plugins

    catalogue = plugins.load()
    lines = ["TuneForge adapts a language model to a job, from one config.", ""]
    lines += ["usage: tuneforge [COMMAND] [PATH…] [KEY=VALUE…]", ""]
    lines += [f"  {name:<18}{text}" for name, text in COMMANDS.items()]
    lines += ["", *(f"  {name:<18}{text}" for name, text in OPTIONS.items())]
    lines += ["", "choices (GROUP=OPTION; a path is a choice too; several: 'GROUP=[A,B]', +GROUP=A, '~GROUP.A'):"]
    for group in plugins.GROUPS:
        if options := catalogue.options(group):
            lines.append(f"  {group:<12}{', '.join(options)}")
    lines += ["", "values:     KEY=VALUE, for example seed=2 batch.size=16 trainer.max_epochs=1"]
    lines += ["            tuneforge plugins show strategy/dpo   prints the fields of a component", ""]
    return "\n".join(lines)


def _run(arguments: Arguments) -> int:
    from tuneforge import commands

    if arguments.command == "check":
        return commands.check(arguments.paths, arguments.overrides, arguments.config_dirs)
    if len(arguments.paths) > 1 or any(not p.endswith((".yaml", ".yml")) for p in arguments.paths):
        word = next((p for p in arguments.paths if not p.endswith((".yaml", ".yml"))), arguments.paths[-1])
        if word in COMMANDS:
            raise ConfigError(f"'{word}' is a command, which stands first: tuneforge {word} …")
        raise ConfigError(f"'{word}': no such command, and no YAML file or KEY=VALUE.{nearest(word, COMMANDS)}")
    file = arguments.paths[0] if arguments.paths else None
    if arguments.multirun:
        from tuneforge import grid

        return grid.run(arguments.overrides, file, arguments.config_dirs)
    return commands.start(arguments.overrides, file, arguments.config_dirs, arguments.source)


def _evaluate(arguments: Arguments) -> int:
    from tuneforge import compare

    if not arguments.paths:
        raise ConfigError("evaluate: name a model folder, an adapter or a run: tuneforge evaluate outputs/latest")
    return compare.evaluate(arguments.paths, arguments.overrides, arguments.config_dirs)


def _compare(arguments: Arguments) -> int:
    from tuneforge import side_by_side

    return side_by_side.run(arguments.paths, arguments.overrides)


def _export(arguments: Arguments) -> int:
    from tuneforge import export

    return export.export(arguments.paths, arguments.overrides, arguments.config_dirs)


def _plugins(arguments: Arguments) -> int:
    from tuneforge import describe, plugins

    catalogue = plugins.load()
    action, *names = arguments.paths or ["list"]
    if action == "list":
        sys.stdout.writelines(f"{line}\n" for line in describe.listing(catalogue))
        return 0
    if action == "show" and names:
        sys.stdout.write("\n".join(describe.show(name, catalogue) for name in names))
        return 0
    if action == "check":
        return _check_plugins()
    raise ConfigError(
        f"plugins {action}: use list, show GROUP/NAME or check.{nearest(action, ['list', 'show', 'check'])}"
    )


def _check_plugins() -> int:
    """One line per plugin: whether it loads, and whether it drags a heavy library in at load."""
    from tuneforge import plugins
    from tuneforge.composition import withdraw_unusable

    catalogue = plugins.load()
    withdraw_unusable(catalogue)
    for owner, loading in catalogue.plugins.items():
        slow = f"  SLOW: imports {', '.join(loading.heavy)} at load" if loading.heavy else ""
        sys.stdout.write(f"ok        {owner}  loaded in {loading.seconds:.2f} s{slow}\n")
    for failure in catalogue.failures:
        sys.stdout.write(f"FAILED    {failure.owner}: {failure.reason}\n")
    for text in catalogue.collisions:
        sys.stdout.write(f"COLLISION {text}\n")
    return 2 if catalogue.failures or catalogue.collisions else 0


def _completion(arguments: Arguments) -> int:
    from tuneforge import completion

    shell = arguments.paths[0] if arguments.paths else Path(os.environ.get("SHELL", "bash")).name
    sys.stdout.write(completion.script(shell))
    return 0


def _complete(words: list[str]) -> int:
    from tuneforge import completion

    sys.stdout.writelines(f"{candidate}\n" for candidate in completion.candidates(words[-1] if words else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
