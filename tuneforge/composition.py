"""From a command line to a typed config: Hydra composes; what it would let pass is refused here."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from tuneforge import plugins
from tuneforge.choices import PathChoices, quoted_template
from tuneforge.complaints import ROOT_KEYS, readable, unknown_key
from tuneforge.errors import ConfigError, nearest
from tuneforge.experiments import job
from tuneforge.kinds import HELD_OUT_GROUPS, KINDS, SEVERAL
from tuneforge.plugins import YAML_GROUPS, Catalogue
from tuneforge.refusals import refuse_overrides, user_folder
from tuneforge.settings import Run


@dataclass
class Composed:
    """A composed config, and how it came about."""

    config: DictConfig
    types: dict[str, str]
    """Path in the config → `group/name` of its component."""
    choices: dict[str, Any]
    """Group → option or options chosen."""
    overrides: list[str]
    notes: list[str] = field(default_factory=list)
    """Defaults that the user did not ask for and must hear of."""

    @property
    def run(self) -> Run:
        """The typed objects."""
        return Run.from_config(self.config, self.types)


class _SearchPath(SearchPathPlugin):
    """Puts the config folders of plugins and of the user behind the shipped one."""

    directories: tuple[Path, ...] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for directory in self.directories:
            search_path.append("tuneforge", f"file://{directory}")


def compose(overrides: Sequence[str] = (), config_dirs: Sequence[str | Path] = ()) -> Run:
    """The typed run that a command line with these overrides would execute."""
    return compose_config(overrides, config_dirs=config_dirs).run


def compose_config(
    overrides: Sequence[str] = (),
    *,
    file: str | Path | None = None,
    config_dirs: Sequence[str | Path] = (),
    catalogue: Catalogue | None = None,
) -> Composed:
    """Compose and validate.

    `file` is a user's YAML, used as an experiment. Raises ConfigError with one readable message.
    """
    composed = _composed(overrides, file, config_dirs, catalogue or plugins.load(), trains=True)
    run = composed.run
    if not run.data and not run.synthetic:
        raise ConfigError("data: nothing to train on; name a file (data=train.jsonl), a source or experiment=helpdesk")
    if run.gate.earlier_run:
        from tuneforge.evaluation import earlier

        earlier.check(run.gate.earlier_run)
    return composed


def compose_evaluation(overrides: Sequence[str], config_dirs: Sequence[str | Path] = ()) -> Composed:
    """Compose what is measured without training: the sets that are named, else the default job's test sets.

    No rule is held yet: a part of it may go into a saved config, which names sets and teachers of its own.
    """
    return _composed(overrides, None, config_dirs, plugins.load(), trains=False)


def _composed(
    overrides: Sequence[str],
    file: str | Path | None,
    config_dirs: Sequence[str | Path],
    catalogue: Catalogue,
    trains: bool,
) -> Composed:
    catalogue.require_sound()
    paths = PathChoices(catalogue)
    folders = [user_folder(Path(d), catalogue) for d in config_dirs]
    arguments = [paths.in_override(o) for o in overrides]
    parsed = parse(arguments)
    refuse_overrides(parsed, catalogue, folders)
    store = ConfigStore.instance()
    saved = dict(store.repo)
    try:
        _register(store, catalogue)
        arguments, notes = job(arguments, parsed, file, paths, catalogue, folders, store, trains)
        _store_paths(store, paths)
        config = _compose(arguments, catalogue, folders)
    finally:
        store.repo = saved
    choices = _choices(config)
    with open_dict(config):
        del config["hydra"]
    return Composed(config, component_types(config, catalogue), choices, list(overrides), notes)


def points(overrides: Sequence[str], catalogue: Catalogue | None = None) -> list[list[str]]:
    """The override lists of a grid, in Hydra's own sweep grammar."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    paths = PathChoices(catalogue or plugins.load())
    for override in overrides:
        paths.in_override(override)  # refuses equal stems over the whole grid
    try:
        batches = BasicSweeper.split_arguments(parse([_quoted_paths(o) for o in overrides]), max_batch_size=None)
    except Exception as error:
        raise ConfigError(f"-m: {error}") from error
    return [point for batch in batches for point in batch]


def _quoted_paths(override: str) -> str:
    """A `~` path is no word in Hydra's grammar, nor is a template; sweeps keep them by quoting."""
    return re.sub(r"(?<=[=,\[])(~/[^,\]]*)", r"'\1'", quoted_template(override))


def parse(overrides: Iterable[str]) -> list[Override]:
    """Overrides as Hydra's grammar reads them; ConfigError for a word that is none."""
    parsed = []
    for override in overrides:
        if "=" not in override and not override.startswith("~"):
            raise ConfigError(f"'{override}' is no override; write key=value.{nearest(override, ROOT_KEYS)}")
        try:
            parsed += OverridesParser.create().parse_overrides([override])
        except Exception as error:
            reason = _requoted(override) or next((line for line in str(error).splitlines() if line), "")
            raise ConfigError(f"{override}: cannot be read; quote values with special characters. {reason}") from error
    return parsed


def _requoted(override: str) -> str:
    """The value, or the items of the list, quoted for Hydra and for a shell; empty where quoting would not mend it."""
    key, _, value = override.partition("=")
    items = value[1:-1] if value.startswith("[") and value.endswith("]") else ""
    if not value or set(items or value) & set("\"'[]{}()"):
        return ""
    if items:
        quoted = ",".join(f'"{item.strip()}"' for item in items.split(","))
        return f"Write '{key}=[{quoted}]'"
    return f"Write '{key}=\"{value}\"'"


@cache
def _structured(cls: Any) -> Any:
    """The typed node of a dataclass; nobody changes it, as Hydra copies what it loads."""
    return OmegaConf.structured(cls)


class _Node(ConfigNode):
    """A node of Hydra's store that is made when it is loaded: most components of a catalogue are not chosen."""

    def __init__(self, cls: type, name: str, group: str | None, package: str | None) -> None:
        self.cls, self.name, self.group, self.package, self.provider = cls, name, group, package, "tuneforge"

    @property
    def node(self) -> Any:
        """Hydra's copy where it has made one."""
        copied = self.__dict__.get("copied")
        return _structured(self.cls) if copied is None else copied

    @node.setter
    def node(self, value: DictConfig) -> None:
        self.__dict__["copied"] = value


def withdraw_unusable(catalogue: Catalogue) -> None:
    """Take out plugins' components with a field that a config cannot hold, or one would end every command."""
    found: list[tuple[str, Any]] = list(catalogue.components.items())
    for reference, cls in found:
        if catalogue.owners[reference].distribution == "tuneforge":
            continue  # held by tests
        try:
            _structured(cls)
        except OmegaConfBaseException as error:
            key = f"field '{error.key}': " if error.key is not None else ""
            failure = catalogue.withdraw(reference, f"{key}{str(error).splitlines()[0]}")
            sys.stderr.write(f"tuneforge: plugin {failure.owner} is skipped: {failure.reason}\n")


def _register(store: ConfigStore, catalogue: Catalogue) -> None:
    """The typed root, each component under its group, each data preset under validation and test too."""
    withdraw_unusable(catalogue)
    store.repo["settings.yaml"] = _Node(Run, "settings.yaml", None, None)
    for reference, cls in catalogue.components.items():
        group, name = reference.split("/")
        for home in (group, *HELD_OUT_GROUPS) if group == "data" else (group,):
            package = f"{home}.{name}" if group in SEVERAL else home
            store.repo.setdefault(home, {})[f"{name}.yaml"] = _Node(cls, f"{name}.yaml", home, package)
    for preset in catalogue.presets.values():
        for home in HELD_OUT_GROUPS if preset.group == "data" else ():
            node = {"defaults": [f"/data/{preset.name}@_here_", "_self_"]}
            store.store(group=home, name=preset.name, node=node, package=f"{home}.{preset.name}", provider="tuneforge")


def _store_paths(store: ConfigStore, paths: PathChoices) -> None:
    for choice in paths.found.values():
        node = OmegaConf.structured(choice.component)
        node.path = choice.path
        store.store(group=choice.group, name=choice.option, node=node, package=choice.package, provider="tuneforge")


def _compose(arguments: list[str], catalogue: Catalogue, folders: Sequence[Path]) -> DictConfig:
    """Run Hydra's compose API; its errors come out readable."""
    shipped, *others = catalogue.config_dirs
    _SearchPath.directories = (*others, *folders)
    Plugins.instance().register(_SearchPath)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(shipped), version_base="1.3", job_name="tuneforge"):
            return hydra_compose("config", overrides=arguments, return_hydra_config=True)
    except Exception as error:
        raise readable(error, catalogue) from error


def _choices(config: DictConfig) -> dict[str, Any]:
    """Group → option; for groups of several, the keys that are in the config."""
    chosen = {
        str(group).split("@")[0]: option
        for group, option in config.hydra.runtime.choices.items()
        if not str(group).startswith("hydra/") and option is not None and not _inside(str(group))
    }
    singles = {g: o for g, o in chosen.items() if g in {*KINDS, *YAML_GROUPS} and g not in SEVERAL}
    return singles | {g: [str(k) for k in config[g]] for g in SEVERAL if config[g]}


def _inside(group: str) -> bool:
    """Whether a choice is for a place inside a component, as `strategy@strategy.tasks.chat`."""
    _, _, package = group.partition("@")
    return "." in package.removeprefix("_global_.")


def component_types(config: DictConfig, catalogue: Catalogue) -> dict[str, str]:
    """Path → `group/name` for every component in the config.

    Raises ConfigError for stray keys and for values where no component was chosen: Hydra accepts both.
    """
    types: dict[str, str] = {}
    bases = set(KINDS.values())

    def walk(node: Any, path: str) -> None:
        if not isinstance(node, DictConfig) or node._is_none() or node._is_missing():
            return
        cls = OmegaConf.get_type(node)
        if cls in bases:
            group = path.split(".")[0]
            place = group if "." not in path or group in SEVERAL else f"+{group}@{path}"
            raise ConfigError(
                f"{path}: values are set, but no component is chosen there; choose one with "
                f"{place}=…: {', '.join(catalogue.options(group))}"
            )
        if "_target_" in node:
            raise ConfigError(f"{path}._target_: refused; a config can only name installed components")
        if dataclasses.is_dataclass(cls):
            fields = [item.name for item in dataclasses.fields(cls)]
            for key in map(str, node):
                if key not in fields:
                    raise unknown_key(f"{path}.{key}" if path else key, fields, catalogue)
            reference = catalogue.reference(cast(type, cls))
            if reference is not None:
                types[path] = reference
        for key in map(str, node):
            walk(node._get_node(key), f"{path}.{key}" if path else key)

    walk(config, "")
    return types
