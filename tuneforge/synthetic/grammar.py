"""A grammar: named slots and weighted tasks in YAML, from which rows are drawn. Nothing in it is executed.

```yaml
slots:                                   # NAME: [choice, …] or {choice: weight, …}
  device: {laptop: 3, printer: 1}
  fault:                                 # a mapping in a list is a record; {f.text} is a field of it
    - {text: "does not start", queue: hardware}
tasks:
  ticket:
    weight: 2
    let: {d: "{device}", f: "{fault}"}   # drawn once per row; a {slot} elsewhere is drawn at every mention
    prompt: ["My {d} {f.text}.", "Help: my {d} {f.text}"]
    completion: "{f.queue}"
  talk:                                  # several turns in one conversation, drawn from the tasks `of`
    turns: [2, 4]
    of: [ticket]
```
Functions of values stand in functions.py. Where a conversation may be drawn, rows of one turn are `messages` too,
so that all rows have the same columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tuneforge.errors import ConfigError, nearest
from tuneforge.synthetic.compiler import Compiler, _range, _weight
from tuneforge.synthetic.functions import OPTIONS
from tuneforge.synthetic.values import Draw, Expression, GrammarError, text_of, weighted_index

COLUMNS = ("text", "prompt", "completion", "chosen", "rejected")
TASK_KEYS = (*COLUMNS, "weight", "let", "turns", "of")


class Drawn(NamedTuple):
    """One row: its task, canonical columns, and every prompt in it (a conversation has several)."""

    task: str
    columns: dict[str, Any]
    prompts: tuple[str, ...]


@dataclass
class Task:
    """A kind of row: what is bound first, and a template per column."""

    name: str
    weight: float
    let: list[tuple[str, Expression]] = field(default_factory=list)
    columns: list[tuple[str, Expression]] = field(default_factory=list)
    turns: tuple[int, int] | None = None
    of: list[Task] = field(default_factory=list)
    pick: Any = None
    """Draws an index into `of`."""
    one_turn: bool = False
    """Give prompt and completion as `messages`."""

    def draw(self, draw: Draw) -> Drawn:
        """One row."""
        if self.turns:
            return self._conversation(draw)
        draw.bound = bound = {}
        for name, value in self.let:
            bound[name] = value(draw)
        columns = {name: text_of(value(draw)) for name, value in self.columns}
        prompts = (columns["prompt"] if "prompt" in columns else columns["text"],)
        return Drawn(self.name, {"messages": _turn(columns)} if self.one_turn else columns, prompts)

    def _conversation(self, draw: Draw) -> Drawn:
        assert self.turns
        low, high = self.turns
        turns = [self.of[self.pick(draw)].draw(draw) for _ in range(low + draw.below(high - low + 1))]
        messages = [m for t in turns for m in t.columns.get("messages") or _turn(t.columns)]
        return Drawn(self.name, {"messages": messages}, tuple(t.prompts[0] for t in turns))


class Grammar:
    """A loaded grammar. Raises ConfigError naming file, task and slot for anything wrong in it."""

    def __init__(self, spec: Any, file: str, only: Sequence[str] = ()) -> None:
        self.file = file
        if not isinstance(spec, dict) or not isinstance(spec.get("tasks"), dict) or not spec["tasks"]:
            raise ConfigError(f"grammar {file}: a mapping with `tasks` (and `slots`) is needed")
        keys = ("slots", "tasks")
        for key in spec:
            if key not in keys:
                raise ConfigError(f"grammar {file}: unknown key '{key}' (slots, tasks).{nearest(str(key), keys)}")
        slots = spec.get("slots") or {}
        if not isinstance(slots, dict):
            raise ConfigError(f"grammar {file}: slots: a mapping of slot to choices is needed, not {slots!r}")
        compiler = Compiler(slots)
        try:
            for name in slots:
                compiler.slot(name)
            self.tasks = _tasks(compiler, spec["tasks"])
        except GrammarError as error:
            place = ", ".join(compiler.where)
            raise ConfigError(f"grammar {file}: {place}: {error}") from None
        for name in only:
            if name not in spec["tasks"]:
                known = ", ".join(spec["tasks"])
                raise ConfigError(f"grammar {file}: no task '{name}' ({known}).{nearest(name, spec['tasks'])}")
        self.tasks = [task for task in self.tasks if not only or task.name in only]
        if any(task.turns for task in self.tasks):
            for task in self.tasks:
                task.one_turn = {column for column, _ in task.columns} == {"prompt", "completion"}
        self.unused = [name for name in slots if name not in compiler.used]
        """Slots that no task and no other slot refers to."""
        self._pick = weighted_index([task.weight for task in self.tasks])

    def draw(self, draw: Draw) -> Drawn:
        """One row of a task drawn by weight."""
        task = self.tasks[self._pick(draw)]
        try:
            return task.draw(draw)
        except GrammarError as error:
            raise ConfigError(f"grammar {self.file}: task '{task.name}': {error}") from None


def _tasks(compiler: Compiler, specs: Mapping[str, Any]) -> list[Task]:
    single = {n: _single(compiler, n, s) for n, s in specs.items() if not (isinstance(s, dict) and "turns" in s)}
    tasks = [single[n] if n in single else _several(compiler, n, s, single) for n, s in specs.items()]
    if not sum(task.weight for task in tasks):
        raise GrammarError("all tasks have weight 0")
    return tasks


def _single(compiler: Compiler, name: str, spec: Any) -> Task:
    with compiler.at(f"task '{name}'"):
        _known_keys(spec, TASK_KEYS)
        task = Task(str(name), _weight(name, spec.get("weight", 1)))
        bound: set[str] = set()
        for key, value in (spec.get("let") or {}).items():
            with compiler.at(f"let '{key}'"):
                task.let.append((key, compiler.expression(value, bound)))
            bound.add(key)
        for column in COLUMNS:
            if column in spec:
                with compiler.at(column):
                    task.columns.append((column, _template(compiler, spec[column], bound)))
        _complete({column for column, _ in task.columns})
        for key in bound:
            if f"let {key}" not in compiler.used:
                raise GrammarError(f"let '{key}' is used nowhere; use {{{key}}} or remove it")
        compiler.used -= {f"let {key}" for key in bound}
    return task


def _template(compiler: Compiler, spec: Any, bound: set[str]) -> Expression:
    """A column: an expression, or choices of expressions."""
    is_function = isinstance(spec, dict) and next(iter(spec), None) in OPTIONS
    if isinstance(spec, list) or (isinstance(spec, dict) and not is_function):
        return compiler.choices(spec, bound)
    return compiler.expression(spec, bound)


def _several(compiler: Compiler, name: str, spec: Any, single: Mapping[str, Task]) -> Task:
    with compiler.at(f"task '{name}'"):
        _known_keys(spec, ("weight", "turns", "of"))
        names = spec.get("of") or [n for n, task in single.items() if _answers(task)]
        for other in names:
            if other not in single:
                raise GrammarError(f"of: unknown task '{other}'.{nearest(str(other), single)}")
            if not _answers(single[other]):
                raise GrammarError(f"of: task '{other}' has no prompt and completion")
        of = [single[n] for n in names]
        turns = _range("turns", spec["turns"])
        if turns[0] < 1:
            raise GrammarError(f"turns: at least 1 is needed, not {turns[0]}")
        weight = _weight(name, spec.get("weight", 1))
        return Task(str(name), weight, turns=turns, of=of, pick=weighted_index([t.weight for t in of]))


def _turn(columns: Mapping[str, str]) -> list[dict[str, str]]:
    """Prompt and completion as one turn of a conversation."""
    pairs = (("user", columns["prompt"]), ("assistant", columns["completion"]))
    return [{"role": role, "content": content} for role, content in pairs]


def _answers(task: Task) -> bool:
    return {"prompt", "completion"} <= {column for column, _ in task.columns}


def _known_keys(spec: Any, known: Iterable[str]) -> None:
    if not isinstance(spec, dict):
        raise GrammarError(f"a mapping is needed, not {spec!r}")
    for key in spec:
        if key not in known:
            raise GrammarError(f"unknown key '{key}' ({', '.join(known)}).{nearest(str(key), known)}")


def _complete(columns: set[str]) -> None:
    pairs = ({"prompt", "completion"}, {"prompt", "chosen", "rejected"}, {"text"})
    if not any(pair <= columns for pair in pairs):
        found = ", ".join(sorted(columns)) or "none"
        raise GrammarError(f"text, prompt + completion, or prompt + chosen + rejected are needed; found {found}")


def load(name: str, only: Sequence[str] = ()) -> Grammar:
    """A bundled grammar by name, or a YAML file by path; of it all tasks, or `only` these.

    Raises ConfigError for a name that is not bundled, a file that is missing or no YAML, or a mistake in it.
    """
    if "/" not in name and not name.endswith((".yaml", ".yml")):
        folder = Path(__file__).parent / "grammars"
        bundled = sorted(p.stem for p in folder.glob("*.yaml"))
        if name not in bundled:
            known = ", ".join(bundled)
            raise ConfigError(
                f"no bundled grammar '{name}' ({known}; or a path to a YAML file).{nearest(name, bundled)}"
            )
        return Grammar(_read(folder / f"{name}.yaml"), f"{name}.yaml", only)
    path = Path(name).expanduser()
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        raise ConfigError(f"grammar {name} {what}")
    return Grammar(_read(path), name, only)


def _read(path: Path) -> Any:
    import yaml
    from omegaconf._utils import get_yaml_loader  # refuses duplicate keys

    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=get_yaml_loader())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"grammar {path} is no readable YAML: {error}") from None
