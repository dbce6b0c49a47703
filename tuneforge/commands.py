"""The commands `run` and `check`: a config becomes a directory, and the directory a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tuneforge import announce, plugins, ranks, record, saved, terminal
from tuneforge.choices import quoted_template
from tuneforge.complaints import readable
from tuneforge.composition import Composed, compose_config, parse
from tuneforge.errors import ConfigError, nearest
from tuneforge.settings import Run
from tuneforge.training.devices import world

RESUMABLE = (
    "trainer.max_steps", "trainer.max_epochs", "trainer.devices", "trainer.num_nodes", "optimizer.learning_rate"
)  # fmt: skip
"""What may change when a run is continued."""
CARRIED = ("command", "overrides", "choices", "lineage")
"""Facts of a record that hold for the run that goes on too."""


@dataclass(frozen=True)
class Outcome:
    """What a finished run left: its directory, run.json and metrics.json."""

    folder: Path
    record: dict[str, Any]
    metrics: dict[str, Any]


def run(overrides: Sequence[str] = (), config_dirs: Sequence[str | Path] = ()) -> Outcome:
    """Compose and execute, as `tuneforge OVERRIDE…` does. Raises what the command would exit with."""
    from tuneforge.execute import execute, read_metrics

    composed = compose_config(overrides, config_dirs=config_dirs)
    if composed.run.program is not None:
        from tuneforge import programs

        def again(further: Sequence[str]) -> Composed:
            return compose_config([*overrides, *further], config_dirs=config_dirs)

        done = programs.start(composed, again, _facts("run", composed))
        return Outcome(done.folder, done.content, read_metrics(done.folder))
    folder = _begin(composed.run, composed)
    book = execute(saved.load(folder), folder, _facts("run", composed))
    return Outcome(folder, book.content, read_metrics(folder))


def start(overrides: Sequence[str], file: str | None, config_dirs: Sequence[str], source: str | None) -> int:
    """`tuneforge run`: a new run, a repeated one, or one that goes on."""
    if world.current().size > 1:
        from tuneforge import rank

        ranks.shared_folder(overrides)
        if world.current().rank:
            return rank.follow(overrides)
    resumed = [o.split("=", 1)[1] for o in overrides if o.startswith("resume=")]
    if resumed and resumed[-1] not in ("", "null"):
        return _resume(Path(resumed[-1]), [o for o in overrides if not o.startswith("resume=")], file or source)

    def again(further: Sequence[str]) -> Composed:
        words = [*overrides, *further]
        if source:
            return _repeat(Path(source), words, file)
        return compose_config(words, file=file, config_dirs=config_dirs)

    composed = again(())
    facts = _facts("run", composed) | ({"lineage": {"from": source}} if source else {})
    if composed.run.program is not None:
        from tuneforge import programs

        programs.start(composed, again, facts)
        return 0
    return _execute(composed, facts)


def check(paths: Sequence[str], overrides: Sequence[str], config_dirs: Sequence[str]) -> int:
    """`tuneforge check`: everything before the first step, of a config or of a run that is there."""
    if world.current().rank:
        return 0  # the first process checks for all
    if len(paths) > 1:
        raise ConfigError(f"check: takes one run directory or YAML file, found {', '.join(paths)}")
    folder = Path(paths[0]) if paths else None
    if folder is not None and folder.is_dir():
        composed = _repeat(folder, overrides, None)
    else:
        composed = compose_config(overrides, file=paths[0] if paths else None, config_dirs=config_dirs)
    if composed.run.program is not None:
        from tuneforge import programs

        stages = programs.checked(composed.run)
        terminal.say("program", f"{composed.run.program.name}: {', '.join(stage.name for stage in stages)}")
    return _execute(composed, _facts("check", composed), only_check=True)


def _execute(composed: Composed, facts: Mapping[str, Any], only_check: bool = False) -> int:
    folder = _begin(composed.run, composed)
    terminal.opening(facts["name"], str(folder), latest=Path("outputs/latest").resolve() == folder.resolve())
    announce.defaults(composed.run, composed.notes)
    from tuneforge.execute import execute

    execute(saved.load(folder), folder, {k: v for k, v in facts.items() if k != "name"}, only_check=only_check)
    return 0


def _begin(run: Run, composed: Composed) -> Path:
    """A fresh directory with the saved config in it."""
    folder = record.new_folder(run)
    saved.save(folder, composed)
    record.link_latest(folder)
    return folder


def _facts(command: str, composed: Composed) -> dict[str, Any]:
    return {
        "name": composed.run.name or composed.run.strategy.name,
        "command": command,
        "overrides": composed.overrides,
        "choices": composed.choices,
    }


def _resume(folder: Path, overrides: Sequence[str], other: str | None) -> int:
    """Continue a run in its own directory."""
    if other is not None:
        raise ConfigError(f"resume={folder}: continues one run alone; {other} cannot be combined with it")
    for override in overrides:
        key = override.split("=")[0].lstrip("+")
        if key not in RESUMABLE:
            hint = nearest(key, RESUMABLE)
            raise ConfigError(
                f"resume={folder}: {key} cannot change when a run is continued; only {', '.join(RESUMABLE)} may.{hint}"
                f" Repeat the run with changes: tuneforge --from {folder} {override}"
            )
    config, types = saved.load_config(folder)
    before = record.read_record(folder)
    if "program" in types:
        return _resume_program(folder, before, overrides)
    apply(config, overrides)
    if before["status"] == "finished" and not overrides:
        raise ConfigError(f"resume={folder}: the run is finished; to train on, raise {' or '.join(RESUMABLE[:2])}")
    composed = Composed(config, dict(types), before.get("choices", {}), before.get("overrides", []))
    said = ranks.same_step(config, before.get("devices", 1))
    if overrides or said:
        saved.save(folder, composed)
    run = saved.load(folder)
    run.resume = str(folder)
    terminal.opening(run.name or run.strategy.name, str(folder), latest=False)
    if said:
        terminal.say("ranks", said)
    from tuneforge.execute import execute

    facts = {k: before[k] for k in (*CARRIED, "data") if k in before}
    facts["resumed"] = [*before.get("resumed", []), {"status": before["status"], "with": list(overrides)}]
    execute(run, folder, facts)
    return 0


def _resume_program(folder: Path, before: Mapping[str, Any], overrides: Sequence[str]) -> int:
    """Go on with the stages that are not finished."""
    from tuneforge import programs

    if overrides:
        raise ConfigError(f"resume={folder}: a program goes on as it began; {overrides[0]} cannot change")
    if before["status"] == "finished":
        raise ConfigError(f"resume={folder}: all stages of the program are finished")
    programs.resume(folder, {k: before[k] for k in CARRIED if k in before})
    return 0


def _repeat(folder: Path, overrides: Sequence[str], file: str | None) -> Composed:
    """The saved config of a run with changed values, for a fresh directory."""
    if file is not None:
        raise ConfigError(f"--from {folder}: repeats one run; {file} cannot be combined with it")
    config, types = saved.load_config(folder)
    config.output_dir = None
    apply(config, overrides)
    Run.from_config(config, types)
    before = record.read_record(folder)
    return Composed(config, dict(types), before.get("choices", {}), [*before.get("overrides", []), *overrides])


def apply(config: DictConfig, overrides: Sequence[str]) -> None:
    """Set values on a saved config; its choices are made, so a choice is refused."""
    catalogue = plugins.load()
    OmegaConf.set_struct(config, True)
    for override in overrides:
        key = override.partition("=")[0]
        if key.startswith(("+", "~")) or ("." not in key and key in plugins.GROUPS):
            raise ConfigError(f"{override}: a saved run's choices cannot change, only values such as seed=2")
        try:
            OmegaConf.update(config, key, parse([quoted_template(override)])[0].value())
        except OmegaConfBaseException as error:
            raise readable(error, catalogue) from error
