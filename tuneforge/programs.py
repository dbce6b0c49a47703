"""A program: stages on top of one config, each a run of its own under `stages/`, and what they say together."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneforge import announce, record, saved, terminal
from tuneforge.composition import Composed
from tuneforge.errors import ConfigError, TuneForgeError
from tuneforge.files import write_json
from tuneforge.forked import Forks, forks
from tuneforge.record import Record
from tuneforge.rows import Conclusion, Stage
from tuneforge.settings import Run
from tuneforge.training.devices import world

GATED = (0, 4)
"""Exit codes of a stage that finished: a gate that fails ends no program."""


def start(composed: Composed, compose: Callable[[Sequence[str]], Composed], facts: Mapping[str, Any]) -> Record:
    """A new program. `compose` gives the user's config with further overrides; all stages are composed first."""
    run = composed.run
    if world.current().size > 1:
        raise ConfigError("program: its stages start their own processes; run it without torchrun or srun")
    stages = checked(run)
    configs = [compose(stage.overrides) for stage in stages]
    root = record.new_folder(run)
    saved.save(root, composed)
    for stage, config in zip(stages, configs, strict=True):
        if stage.model_from:
            earlier = next(s for s in stages if s.name == stage.model_from)
            config = compose([*stage.overrides, f"model={_folder(root, stages, earlier)}"])
        _save_stage(_folder(root, stages, stage), config)
    record.link_latest(root)
    terminal.opening(facts["name"], str(root), latest=Path("outputs/latest").resolve() == root.resolve())
    announce.defaults(run, composed.notes)
    return _go(run, root, stages, {k: v for k, v in facts.items() if k != "name"})


def resume(root: Path, facts: Mapping[str, Any]) -> Record:
    """Go on with a program: what is finished stays, what was stopped goes on, the rest begins."""
    run = saved.load(root)
    terminal.opening(run.name or run.strategy.name, str(root), latest=False)
    return _go(run, root, checked(run), facts)


def checked(run: Run) -> Sequence[Stage]:
    """The stages of a run's program; ConfigError where names repeat or an earlier model is none."""
    assert run.program is not None
    stages = run.program.stages(run)
    names = [stage.name for stage in stages]
    if not stages or len(set(names)) != len(names):
        raise ConfigError(f"program={run.program.name}: stages need names of their own, found {', '.join(names)}")
    for number, stage in enumerate(stages):
        if stage.model_from and stage.model_from not in names[:number]:
            raise ConfigError(f"program={run.program.name}: stage {stage.name} takes the model of no earlier stage")
    return stages


def _save_stage(folder: Path, composed: Composed) -> None:
    """The stage's own config, which has no program."""
    composed.config.program = None
    composed.types.pop("program", None)
    (folder / "logs").mkdir(parents=True)
    saved.save(folder, composed)


def _folder(root: Path, stages: Sequence[Stage], stage: Stage) -> Path:
    name = "".join(c if c.isalnum() or c in "=.,_-" else "_" for c in stage.name)
    return root / "stages" / f"{stages.index(stage) + 1}-{name}"


def _go(run: Run, root: Path, stages: Sequence[Stage], facts: Mapping[str, Any]) -> Record:
    assert run.program is not None
    with record.locked(root):
        book = Record.start(run, root, [], **facts, program=run.program.name, stages=[])
        try:
            with book.closing(), forks() as forked:
                done = _all_stages(run, root, stages, book, forked)
                _conclude(run, root, done, book)
        finally:
            _report(root)
    return book


def _all_stages(run: Run, root: Path, stages: Sequence[Stage], book: Record, forked: Forks) -> list[Mapping[str, Any]]:
    assert run.program is not None
    done: list[Mapping[str, Any]] = []
    while (stage := run.program.next(stages, done)) is not None:
        folder = _folder(root, stages, stage)
        began = time.perf_counter()
        code = _run_stage(folder, stage, forked)
        forked.refuse_to_go_on(len(done) + 1, f"{len(stages)} stages")
        if code not in GATED:
            raise _failed(stage, folder, code)
        found = record.read_record(folder)
        done.append({**found, "stage": stage.name, "metrics": _metrics(folder)})
        facts = {"name": stage.name, "folder": str(folder), "status": found["status"], "exit_code": code}
        book.update(stages=[*book.content["stages"], facts])
        verdict = (found.get("verdict") or {}).get("reason", found["status"])
        took = terminal.seconds(time.perf_counter() - began)
        terminal.say(f"stage {len(done)}", f"{stage.name}  {verdict}  {took}")
    return done


def _run_stage(folder: Path, stage: Stage, forked: Forks) -> int:
    """Run it, or go on with it; one that is finished is not run again."""
    if (folder / "run.json").is_file():
        before = record.read_record(folder)
        if before["status"] == "finished":
            return 4 if not before.get("gate", {}).get("passed", True) else 0
        return forked.run(folder, list(stage.overrides), resume=True)
    return forked.run(folder, list(stage.overrides))


def _failed(stage: Stage, folder: Path, code: int) -> TuneForgeError:
    """With the stage's own exit code and last words."""
    lines = (folder / "logs" / "output.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.startswith("tuneforge: ")), "")
    error = TuneForgeError(f"stage {stage.name} ended with exit code {code}, see {folder}/logs/output.txt. {last}")
    error.exit_code = code
    return error


def _conclude(run: Run, root: Path, done: Sequence[Mapping[str, Any]], book: Record) -> None:
    """metrics.json with the rows of all stages, program.json, and the program's word on the terminal."""
    assert run.program is not None
    rows = [{**row, "stage": one["stage"]} for one in done for row in one["metrics"].get("rows", [])]
    write_json(root / "metrics.json", {"schema": 1, "rows": rows})
    found = run.program.conclude(done) or Conclusion("done", f"{len(done)} stages")
    content = {"schema": 1, "program": run.program.name, "decision": found.decision, "text": found.text}
    write_json(root / "program.json", {**content, **found.facts})
    book.update(conclusion={"decision": found.decision, "text": found.text})
    terminal.heading(f"{run.program.name} {found.decision.upper()}", found.text)


def _metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _report(root: Path) -> None:
    from tuneforge.report.html import write_report

    write_report(root)
    announce.closing(root)
