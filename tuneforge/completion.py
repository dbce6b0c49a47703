"""Shell completion from the catalogue alone: neither Hydra nor rich is imported."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from tuneforge import plugins
from tuneforge.cli import COMMANDS
from tuneforge.errors import ConfigError, nearest

SCRIPTS = {
    "bash": """_tuneforge() {
    local word="${COMP_LINE:0:COMP_POINT}"; word="${word##* }"
    COMPREPLY=($(tuneforge --complete "$word" 2>/dev/null))
    case "$word" in *=*) COMPREPLY=("${COMPREPLY[@]#*=}");; esac
    compopt -o nospace
}
complete -F _tuneforge tuneforge
""",
    "zsh": """_tuneforge() {
    local -a found; found=(${(f)"$(tuneforge --complete "$PREFIX" 2>/dev/null)"})
    compadd -S '' -a found; _files
}
compdef _tuneforge tuneforge
""",
    "fish": "complete -c tuneforge -a '(tuneforge --complete (commandline -ct) 2>/dev/null)'\n",
}
ROOT_VALUES = ("seed", "name", "output_dir", "resume", "max_quarantined", "batch", "checkpoint", "audit", "baseline")


def script(shell: str) -> str:
    """The script to evaluate in the shell's start-up file."""
    if shell not in SCRIPTS:
        raise ConfigError(f"completion {shell}: known shells: {', '.join(SCRIPTS)}.{nearest(shell, SCRIPTS)}")
    return SCRIPTS[shell]


def candidates(word: str) -> list[str]:
    """What the last word of the command line may become."""
    if "=" in word:
        return _values(word)
    sign = word[:1] if word[:1] in "+~" else ""
    bare = word[len(sign) :]
    if "." in bare:
        return _fields(bare)
    names = [*(f"{g}=" for g in plugins.GROUPS), *(f"{v}=" for v in ROOT_VALUES)]
    return sorted(c for c in [*(f"{sign}{n}" for n in names), *([] if sign else COMMANDS)] if c.startswith(word))


def _values(word: str) -> list[str]:
    head, _, value = word.partition("=")
    group = head.lstrip("+").split("@")[0]
    if group not in plugins.GROUPS:
        return []
    before = value[: max(value.rfind(c) for c in "[,") + 1]
    options = plugins.load(group).options(group)
    return [f"{head}={before}{o}" for o in options if o.startswith(value[len(before) :])]


def _fields(bare: str) -> list[str]:
    """Fields of any component of the group: which one is chosen is not known yet."""
    group = bare.split(".")[0]
    classes: Iterable[type] = (c for ref, c in plugins.load(group).components.items() if ref.startswith(f"{group}/"))
    names = {f"{group}.{f.name}=" for cls in classes for f in dataclasses.fields(cls)}
    return sorted(n for n in names if n.startswith(bare))
